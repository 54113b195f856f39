"""How a guard refuses, in SQL: a function for drops, and a condition of built-ins for TRUNCATE.

Both run with the rights of who drops or truncates, whom they cannot harm more than he could
himself, and both do nothing but to tell unless his session has the push's mark. The function reads
a table's rows only for who has its owner's rights, and for no superuser unless the owner is one. Of
any other table they ask for the size, which evaluates none.

A push may hide the error that it got. A lock of its session outlives the transaction that ends with
the error, and the session sleeps until the guard's must have seen it. Its second key is any number,
for nobody can have taken all of them.
"""

import os
import secrets
import select
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from .leftovers import DROP_EVENT_TRIGGER, NAME, TABLES, TRY_S
from .session import SEARCH_PATH, Session, first_rows
from .sessions import mark
from .snapshot import Table

REFUSES: Final = "entrypoint refuses to lose the rows of"
"""How what the server's error quotes begins; after it come labels, up to a semicolon."""

PATIENCE_S: Final = 1.0
"""Seconds that a refused statement waits for its refusal to be seen."""

LOOK_S: Final = 0.1
"""Seconds between two looks at what is refused, and at whether the push's mark is to be seen."""

SLACK_S: Final = 120.0
"""Seconds after the push's time is up until what is left of its guard does not even tell."""

GIVE_UP_S: Final = 60
"""Seconds in which the server itself tries to remove the triggers of a start that was killed."""

_MARKED: Final = """(current_setting('application_name') = {name}
  or current_setting('entrypoint.push', true) = {mark})"""

# Called by whoever truncates, for whom it must not fail where EXECUTE is not PUBLIC's.
_NOT_PUBLIC: Final = """
select f from unnest('{"clock_timestamp()", "current_setting(text)",
  "current_setting(text, boolean)", "pg_relation_size(regclass)",
  "pg_relation_size(regclass, text)", "pg_try_advisory_lock_shared(integer, integer)",
  "random()", "pg_sleep(double precision)", "pg_notify(text, text)", "current_database()",
  "left(text, integer)", "inet_client_port()",
  "pg_event_trigger_dropped_objects()"}'::regprocedure[]) f
where not has_function_privilege('public', f, 'execute')
"""

# To look for a row the server plans a query, and with it evaluates what is constant in the owner's
# index expressions. A superuser who has only taken a role gets back from there.
_NEAR: Final = """exists (select from pg_roles o where o.oid = owner and (rolsuper
  or pg_has_role(o.oid, 'usage')
    and not (select rolsuper from pg_roles where rolname = session_user)))"""

_PORT: Final = """' ' || coalesce(inet_client_port()::text, '')"""
"""Goes behind what was lost: by which session, as far as its other end can know it."""

_TELL: Final = "pg_try_advisory_lock_shared({told}, (random() * 2147483646)::int)"

_ON_DROP: Final = f"""
declare
  gone record;
  filled bool;
  owner oid;
  lost text[];
begin
  if clock_timestamp() >= {{until}}::timestamptz then
    return;
  end if;
  if {_MARKED} is not true then
    perform pg_notify({{channel}}, objid::text || {_PORT} || coalesce(' ' || address_names[3], ''))
    from pg_event_trigger_dropped_objects()
    where classid = 'pg_class'::regclass and object_type in ('table', 'table column')
      and not is_temporary;
    return;
  end if;
  for gone in
    select objid, objsubid, address_names as name from pg_event_trigger_dropped_objects()
    where classid = 'pg_class'::regclass and object_type in ('table', 'table column')
      and not is_temporary
  loop
    filled := gone.objid = any ({{tables}}::oid[]);
    if filled and gone.objsubid <> 0 then
      select relowner into owner from pg_class where oid = gone.objid and relkind = 'r';
      filled := found;  -- or it went with it
      if filled and has_table_privilege(gone.objid, 'select')
        and not row_security_active(gone.objid) then
        if {_NEAR} then
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
      ] && {{allowed}}::text[] then
      lost := lost
        || array_to_string(array_remove(gone.name[1:1], 'public') || gone.name[2:], '.');
    end if;
  end loop;
  if lost is not null then
    perform {_TELL}, pg_sleep({{patience}});
    raise exception '% %; allow it once with ENTRYPOINT_ALLOW_LOSS=%', {{refuses}},
      array_to_string(lost, ', '), array_to_string(lost, ',');
  end if;
end
"""  # noqa: S608  texts of our own

# Built-ins alone, so that a dump which has it restores anywhere; and it is never true, so that the
# trigger's function is never called. What is refused is told by a text that is no boolean, of which
# an empty part is known only when it is evaluated, for the server not to try it before. It names
# the table by its OID: what is restored from a dump is over.
_ON_TRUNCATE: Final = f"""
case when clock_timestamp() >= {{until}}::timestamptz then false
when {_MARKED} then pg_relation_size({{oid}}::oid::regclass) > 0
  and {_TELL} is not null and pg_sleep({{patience}}) is not null
  and ({{refusal}} || left(current_database()::text, 0))::boolean
else pg_notify({{channel}}, {{oid}}::text || {_PORT}) is null end
"""

# Locks have a session and, unlike their key, its role cannot be invented.
_TOLD: Final = """exists (
    select from pg_locks l cross join lateral pg_stat_get_activity(l.pid) a
    where l.locktype = 'advisory' and l.classid = {told} and l.objsubid = 2
      and l.granted and l.mode = 'ShareLock' and a.usesysid = any ({roles}::oid[])
      and l.database = (select oid from pg_database where datname = current_database()))"""

# The first column is when the guard ends, the last one our role.
_BEFORE: Final = """
select (clock_timestamp() + {lasts_s} * interval '1 s')::text,
  array (select pid from pg_stat_activity where pid is not null),
  inet_client_port(),
  array (select usesysid::int8 from pg_stat_get_activity(pg_backend_pid())), {asks}
"""

_HEARD: Final = "entrypoint.heard"
_SEEN: Final = "entrypoint.seen"
"""Settings of the guard's session, which nobody else can change."""

# Every transaction of it is short: CREATE INDEX CONCURRENTLY waits for older ones, and of many
# tables not all can be locked at once.
_WATCH: Final = f"""
do $$
declare
  name text;
  since timestamptz;
  again bool := true;
begin
  while exists (select from pg_stat_get_activity({{pid}})) loop
    if {{asks}} then
      perform set_config('{_HEARD}', 'on', false);
    end if;
    if coalesce(current_setting('{_SEEN}', true), '') <> 'on' and exists (
        select from pg_stat_get_activity(null) where application_name = {{name}}) then
      perform set_config('{_SEEN}', 'on', false);
    end if;
    commit;
    begin
      perform pg_sleep({LOOK_S});
    exception when query_canceled then
      return;
    end;
  end loop;
  since := clock_timestamp();
  while again and clock_timestamp() < since + interval '{GIVE_UP_S} s' loop
    again := false;
    begin
      {DROP_EVENT_TRIGGER}
    exception when lock_not_available then
      again := true;
    when others then
    end;
    commit;
    for name in {TABLES} loop
      begin
        execute 'drop trigger if exists {NAME} on ' || name;
      exception when lock_not_available then
        again := true;
      when others then
      end;
      commit;
    end loop;
    if again then
      perform pg_sleep(1);
    end if;
  end loop;
end $$
"""  # noqa: S608  texts of our own

WAKE_S: Final = 5.0
"""Seconds in which the server must end a watch."""

AGAIN_S: Final = 0.2
"""Seconds until it is asked once more."""


class Refusal:
    """What one guard refuses to the sessions of the push with an application_name, and tells."""

    def __init__(
        self,
        session: Session,
        tables: Sequence[Table],
        allowed: Collection[str],
        name: str,
        lasts_s: float,
    ) -> None:
        """Prepare; ``tables`` are those with rows, ``allowed`` names may go.

        Raises `psycopg.Error` where the server does not let us look.
        """
        self.session = session
        self.notified: list[tuple[int, str]] = []
        told = secrets.randbits(31)
        self._channel = f"entrypoint_{secrets.token_hex(8)}"
        self._words: dict[str, sql.Composable] = {
            "name": sql.Literal(name),
            "mark": sql.Literal(mark(name)),
            "told": sql.Literal(told),
            "tables": sql.Literal([str(table.oid) for table in tables]),
            "allowed": sql.Literal(list(allowed)),
            "refuses": sql.Literal(REFUSES),
            "patience": sql.Literal(PATIENCE_S),
            "channel": sql.Literal(self._channel),
            "lasts_s": sql.Literal(lasts_s + SLACK_S),
        }
        self._roles: list[int] = []
        connection = session.connection
        before = sql.SQL(_BEFORE).format(asks=self._asks(), **self._words)
        [(until, self._there, port, self._roles, _)] = first_rows(
            connection, before.as_string(connection)
        )
        self._sees_ports = port is not None and port == _local_port(session)
        self._words["until"] = sql.Literal(until)
        connection.add_notify_handler(lambda got: self.notified.append((got.pid, got.payload)))
        connection.execute(f"listen {self._channel}".encode())

    def closed(self) -> str | None:
        """Which function that it needs is not everybody's to call, if there is one."""
        row = self.session.connection.execute(_NOT_PUBLIC).fetchone()
        return f"EXECUTE on the function {row[0]} is revoked from PUBLIC" if row else None

    def _asks(self) -> sql.Composed:
        """Whether a session of one of the roles tells that it was refused something."""
        oids = sql.Literal([str(role) for role in self._roles])
        return sql.SQL(_TOLD).format(told=self._words["told"], roles=oids)

    def on_drop(self) -> str:
        """The statements that make the event trigger."""
        connection = self.session.connection
        body = sql.SQL(_ON_DROP).format(**self._words).as_string(connection)
        function = sql.SQL(
            "create function pg_temp.{} () returns event_trigger language plpgsql security invoker "
            "set search_path = {} as {}"
        ).format(sql.Identifier(NAME), sql.SQL(SEARCH_PATH), sql.Literal(body))
        # pg_dump leaves a member of an extension out. The server does not when it removes pg_temp.
        return (
            f"{function.as_string(connection)};"
            f"create event trigger {NAME} on sql_drop execute function pg_temp.{NAME}();"
            f"alter extension plpgsql add event trigger {NAME}"
        )

    def on_truncate(self, table: Table) -> str:
        """The statement that makes the trigger of one table."""
        label = table.label()
        # Where a dead trigger could not be removed, it is replaced.
        replace = sql.SQL("or replace" if self.session.server_version >= SINCE_14 else "")
        statement = sql.SQL(
            "create {} trigger {} before truncate on {} when ({}) "
            "execute function pg_catalog.suppress_redundant_updates_trigger()"
        ).format(
            replace,
            sql.Identifier(NAME),
            sql.Identifier(table.schema, table.name),
            sql.SQL(_ON_TRUNCATE).format(
                oid=sql.Literal(table.oid),
                refusal=sql.Literal(
                    f"{REFUSES} {label}; allow it once with ENTRYPOINT_ALLOW_LOSS={label}"
                ),
                **self._words,
            ),
        )
        return statement.as_string(self.session.connection)

    def happened(self) -> bool:
        """Whether anything was refused, even if the push hides the server's error.

        The start's own session must be watched until then, see `watch`.
        """
        self.wake()
        query = sql.SQL("select coalesce(current_setting({}, true), '') = 'on' or {}")
        statement = query.format(sql.Literal(_HEARD), self._asks())
        row = self.session.connection.execute(statement).fetchone()
        return bool(row and row[0])

    def others(self, tables: Mapping[int, Table], ports: Collection[int] | None) -> set[str]:
        """The labels of what sessions lost of these that are none of the push's.

        One that was there before is none. Nor is a new one without the mark, if the mark was seen,
        for then the push's sessions have it, or if its port is none of the push's ``ports``. None
        stands for ports that are not known; nor are they where somebody between us and the server
        changes them.
        """
        self.wake()
        query = sql.SQL("select coalesce(current_setting({}, true), '') = 'on'")
        row = self.session.connection.execute(query.format(sql.Literal(_SEEN))).fetchone()
        seen = bool(row and row[0])
        labels = set()
        for pid, payload in self.notified:
            number, port, column = (*payload.split(" ", 2), "", "")[:3]
            told = ports is not None and self._sees_ports and port.isdecimal()
            if told and int(port) in (ports or ()):
                continue
            table = tables.get(int(number)) if number.isdecimal() else None
            if table and (told or seen or pid in self._there):
                labels.add(table.label(column or None))
        return labels

    def watch(self, pid: int, role: int) -> None:
        """Have the server itself remove them when the session with this pid is gone.

        Until then it takes down what is refused to sessions of ``role``, that session's, or of our
        own. It goes on even if we are gone too: a backend notices that when it is done with what it
        was sent. Until `wake` the session can do nothing else.
        """
        self._roles.append(role)
        connection = self.session.connection
        connection.execute(f"set lock_timeout = {int(TRY_S * 1000)}".encode())
        words = {"asks": self._asks(), "name": self._words["name"], "pid": pid}
        watch = sql.SQL(_WATCH).format(**words).as_bytes(connection)
        connection.pgconn.send_query(watch)
        connection.pgconn.flush()

    def wake(self) -> None:
        """End the watch, if there is one. Raises `psycopg.Error` when the server does not."""
        connection = self.session.connection
        if connection.info.transaction_status != TransactionStatus.ACTIVE:
            return
        deadline = time.monotonic() + WAKE_S
        while time.monotonic() < deadline:
            # The server ignores a request that reaches it before it has begun with the watch.
            connection.cancel_safe(timeout=WAKE_S)
            if self._woken(AGAIN_S):
                return
        raise psycopg.OperationalError

    def _woken(self, timeout_s: float) -> bool:
        """Whether the server ends the watch within this time."""
        pgconn = self.session.connection.pgconn
        deadline = time.monotonic() + timeout_s
        while True:
            while pgconn.is_busy():
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not select.select([pgconn.socket], [], [], left_s)[0]:
                    return False
                pgconn.consume_input()
            if pgconn.get_result() is None:
                return True


def _local_port(session: Session) -> int | None:
    """Our own end of the session's connection, as we know it; None where it has no port."""
    with socket.socket(fileno=os.dup(session.connection.fileno())) as end:
        name = end.getsockname()
    return name[1] if isinstance(name, tuple) else None


SINCE_14: Final = 140000
"""The first server version with CREATE OR REPLACE TRIGGER, and some settings."""
