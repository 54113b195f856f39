"""The functions by which a guard refuses, in the ``pg_temp`` of its session.

They run with the rights of who drops or truncates (SECURITY INVOKER), whom they cannot harm more
than he could himself. They read a table's rows only for who has its owner's rights, and for no
superuser unless the owner is one. Of any other table they ask for the size, which evaluates none.
"""

import secrets
import select
from collections.abc import Collection, Sequence
from typing import Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from .session import SEARCH_PATH, Session, first_rows
from .snapshot import Table

ON_DROP: Final = "entrypoint_guard"
ON_TRUNCATE: Final = "entrypoint_guard_truncate"

REFUSES: Final = "entrypoint refuses to lose the rows of"
"""How the server's error begins; after it come labels, up to a semicolon."""

# Locks have a session and, unlike their key, its role cannot be invented.
_LOCKED: Final = """exists (
    select from pg_locks l cross join lateral pg_stat_get_activity(l.pid) a
    where l.locktype = 'advisory' and l.classid = {high} and l.objsubid = 2 {key}
      and l.granted and l.mode = {mode} and a.usesysid = any ({roles}::oid[])
      and l.database = (select oid from pg_database where datname = current_database()))"""

_ASLEEP: Final = """
  if (select coalesce(backend_start < {since}::timestamptz, pid = any ({there}::int[]))
      from pg_stat_get_activity(pg_backend_pid())) or not {awake} then
    return {nothing};
  end if;
"""

# To look for a row the server plans a query, and with it evaluates what is constant in the owner's
# index expressions. A superuser who has only taken a role gets back from there.
_NEAR: Final = """exists (select from pg_roles o where o.oid = owner and (rolsuper
  or pg_has_role(o.oid, 'usage')
    and not (select rolsuper from pg_roles where rolname = session_user)))"""

# A push may hide the error that it got. A lock of the session outlives the transaction that ends
# with the error, and is held until the guard's session has seen it. Its second key is any number,
# for nobody can have taken all of them.
_TELL: Final = """
    declare
      any_key int := floor(random() * 2147483647);
    begin
      perform pg_try_advisory_lock_shared({told}, any_key);
      for i in 1 .. {patience} loop
        exit when {heard};
        perform pg_sleep(0.05);
      end loop;
      perform pg_advisory_unlock_shared({told}, any_key);
    end;
"""

_ON_DROP: Final = """
declare
  gone record;
  filled bool;
  owner oid;
  lost text[];
begin
  {asleep}
  for gone in
    select objid, objsubid, address_names as name from pg_event_trigger_dropped_objects()
    where classid = 'pg_class'::regclass and object_type in ('table', 'table column')
      and not is_temporary
  loop
    filled := gone.objid = any ({tables}::oid[]);
    if filled and gone.objsubid <> 0 then
      select relowner into owner from pg_class where oid = gone.objid and relkind = 'r';
      filled := found;  -- or it went with it
      if filled and has_table_privilege(gone.objid, 'select')
        and not row_security_active(gone.objid) then
        if {near} then
          execute format('select exists (select from only %I.%I)', gone.name[1], gone.name[2])
            into filled;
        else
          filled := pg_relation_size(gone.objid) > 0;
        end if;
      end if;
    end if;
    if filled and not array[
        gone.name[2], concat_ws('.', gone.name[1], gone.name[2]),
        concat_ws('.', gone.name[2], gone.name[3]), array_to_string(gone.name, '.')
      ] && {allowed}::text[] then
      lost := lost
        || array_to_string(array_remove(gone.name[1:1], 'public') || gone.name[2:], '.');
    end if;
  end loop;
  if lost is not null then
    {tell}
    raise exception '% %; allow it once with ENTRYPOINT_ALLOW_LOSS=%', {refuses},
      array_to_string(lost, ', '), array_to_string(lost, ',');
  end if;
end
"""

_ON_TRUNCATE: Final = """
declare
  here text := tg_table_schema;
  name text := tg_table_name;
  label text := array_to_string(array_remove(array[here], 'public') || name, '.');
  filled bool := true;
  owner oid;
begin
  {asleep}
  if has_table_privilege(tg_relid, 'select') and not row_security_active(tg_relid) then
    select relowner into owner from pg_class where oid = tg_relid;
    if {near} then
      execute format('select exists (select from only %I.%I)', here, name) into filled;
    else
      filled := pg_relation_size(tg_relid) > 0;
    end if;
  end if;
  if filled and not array[name, here || '.' || name] && {allowed}::text[] then
    {tell}
    raise exception '% %; allow it once with ENTRYPOINT_ALLOW_LOSS=%', {refuses}, label, label;
  end if;
  return null;
end
"""

# Of other roles' sessions a plain role sees no more than that they are there, and as whom. The last
# column is our role, and then that of the start which holds the lock: the push is one of theirs.
_BEFORE: Final = """
select clock_timestamp()::text, array (select pid from pg_stat_activity where pid is not null),
  array (select usesysid::int8 from pg_stat_get_activity(pg_backend_pid()))
"""

PATIENCE_S: Final = 2.0
"""Seconds that a refused statement waits at most for its refusal to be seen."""

TRY_S: Final = 0.2
"""Seconds that a removal waits for a table, and with it all who come after."""

_BRIEFLY: Final = f"set lock_timeout = {int(TRY_S * 1000)}"

_DROP: Final = f"""
drop function if exists pg_temp.{ON_DROP}(), pg_temp.{ON_TRUNCATE}() cascade
"""

_HEARD: Final = "entrypoint.heard"
"""A setting of the guard's session, which nobody else can change."""

# Every transaction of it is short: CREATE INDEX CONCURRENTLY waits for older ones.
_WATCH: Final = f"""
do $$ begin
  while exists (select from pg_stat_get_activity({{pid}})) loop
    if {{told}} then
      perform set_config('{_HEARD}', 'on', false), pg_try_advisory_lock({{high}}, {{heard}});
    end if;
    commit;
    begin
      perform pg_sleep(0.25);
    exception when query_canceled then
      return;
    end;
  end loop;
  perform pg_advisory_unlock_all();
  loop
    begin
      {_DROP};
      return;
    exception when others then
    end;
    commit;
    perform pg_sleep(1);
  end loop;
end $$
"""

WAKE_S: Final = 5.0
"""Seconds in which the server must end a watch."""


class Refusal:
    """The functions of one guard in its session, which they do not outlive.

    They are asleep unless a session of that one's role holds an advisory lock of a random key, so
    that what a crashed server left refuses nothing, whoever takes the lock.
    """

    def __init__(self, session: Session, tables: Sequence[Table], allowed: Collection[str]) -> None:
        """Take the lock and prepare; ``tables`` are those with rows, ``allowed`` names may go."""
        self.session = session
        connection = session.connection
        high, key, told, heard = (secrets.randbits(31) for _ in range(4))
        connection.execute("select pg_advisory_lock(%s, %s)", [high, key])
        [(since, there, roles)] = first_rows(connection, _BEFORE)
        self._roles: list[int] = roles
        self._high, self._told, self._heard = map(sql.Literal, (high, told, heard))
        self._words: dict[str, sql.Composable] = {
            "since": sql.Literal(since),
            "there": sql.Literal(there),
            "tables": sql.Literal([str(table.oid) for table in tables]),
            "allowed": sql.Literal(list(allowed)),
            "refuses": sql.Literal(REFUSES),
            "near": sql.SQL(_NEAR),
            "awake": self._locked(self._high, "ExclusiveLock", roles, sql.Literal(key)),
        }
        tell = {
            "told": self._told,
            "heard": self._locked(self._high, "ExclusiveLock", roles, self._heard),
            "patience": sql.Literal(int(PATIENCE_S / 0.05)),
        }
        self._words["tell"] = sql.SQL(_TELL).format(**tell)

    def _locked(
        self, high: sql.Literal, mode: str, roles: Collection[int], low: sql.Literal | None = None
    ) -> sql.Composed:
        """Whether a session of one of these roles holds a lock of this key; ``low`` may be any."""
        oids = sql.Literal([str(role) for role in roles])
        key = sql.SQL("and l.objid = {}").format(low) if low else sql.SQL("")
        words = {"high": high, "key": key, "mode": sql.Literal(mode), "roles": oids}
        return sql.SQL(_LOCKED).format(**words)

    def on_drop(self) -> str:
        """The statement that creates the event trigger's function, `ON_DROP`."""
        return self._function(ON_DROP, "event_trigger", "", sql.SQL(_ON_DROP))

    def on_truncate(self) -> str:
        """The same for the function of BEFORE TRUNCATE triggers, `ON_TRUNCATE`."""
        return self._function(ON_TRUNCATE, "trigger", "null", sql.SQL(_ON_TRUNCATE))

    def _function(
        self, name: str, returns: LiteralString, nothing: LiteralString, body: sql.SQL
    ) -> str:
        asleep = sql.SQL(_ASLEEP).format(nothing=sql.SQL(nothing), **self._words)
        text = body.format(asleep=asleep, **self._words).as_string(self.session.connection)
        statement = sql.SQL(
            "create function pg_temp.{} () returns {} language plpgsql security invoker "
            "set search_path = {} as {}"
        )
        names = sql.Identifier(name), sql.SQL(returns), sql.SQL(SEARCH_PATH), sql.Literal(text)
        return statement.format(*names).as_string(self.session.connection)

    def happened(self) -> bool:
        """Whether anything was refused, even if the push hides the server's error.

        The start's own session must be watched until then, see `watch`.
        """
        self.wake()
        told = self._locked(self._told, "ShareLock", self._roles)
        query = sql.SQL("select coalesce(current_setting({}, true), '') = 'on' or {}")
        row = self.session.connection.execute(query.format(sql.Literal(_HEARD), told)).fetchone()
        return bool(row and row[0])

    def sleep(self) -> None:
        """Refuse nothing any more."""
        self.wake()
        self.session.connection.execute("select pg_advisory_unlock_all()")

    def drop(self) -> bool:
        """Remove the functions with all triggers that call them; whether nobody was in the way."""
        try:
            self.session.connection.execute(f"{_BRIEFLY}; {_DROP}")
        except psycopg.Error:
            if self.session.connection.broken:
                raise
            return False
        return True

    def watch(self, pid: int | None, role: int | None = None) -> None:
        """Have the server itself remove them when the session with this pid is gone, or at once.

        Until then it takes down what is refused to sessions of ``role``, that session's, or of our
        own. It goes on even if we are gone too: a backend notices that when it is done with what it
        was sent. Until `wake` the session can do nothing else.
        """
        if role is not None:
            self._roles.append(role)
        connection = self.session.connection
        connection.execute(_BRIEFLY)
        told = self._locked(self._told, "ShareLock", self._roles)
        words = {"told": told, "high": self._high, "heard": self._heard, "pid": pid or 0}
        watch = sql.SQL(_WATCH).format(**words).as_bytes(connection)
        connection.pgconn.send_query(watch)
        connection.pgconn.flush()

    def wake(self) -> None:
        """End the watch, if there is one. Raises `psycopg.Error` when the server does not."""
        connection = self.session.connection
        if connection.info.transaction_status != TransactionStatus.ACTIVE:
            return
        connection.cancel_safe(timeout=WAKE_S)
        pgconn = connection.pgconn
        while True:
            while pgconn.is_busy():
                if not select.select([pgconn.socket], [], [], WAKE_S)[0]:
                    raise psycopg.OperationalError
                pgconn.consume_input()
            if pgconn.get_result() is None:
                return
