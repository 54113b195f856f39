"""The functions by which a guard refuses, in the ``pg_temp`` of its session."""

import secrets
import select
import time
from collections.abc import Collection, Sequence
from typing import Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from .session import Session, first_rows
from .snapshot import Table

ON_DROP: Final = "entrypoint_guard"
ON_TRUNCATE: Final = "entrypoint_guard_truncate"
COUNTER: Final = "entrypoint_guard_refused"

REFUSES: Final = "entrypoint refuses to lose the rows of"
"""How the server's error begins; after it come labels, up to a semicolon."""

_ASLEEP: Final = """
  if pg_try_advisory_xact_lock_shared({high}, {low}) or (
    select coalesce(backend_start < {since}::timestamptz, pid = any ({there}::int[]))
    from pg_stat_get_activity(pg_backend_pid())
  ) then
    return {nothing};
  end if;
"""

_ON_DROP: Final = """
declare
  gone record;
  filled bool;
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
      filled := exists (select from pg_class where oid = gone.objid);  -- or it went with it
      if filled then
        execute format('select exists (select from only %I.%I)', gone.name[1], gone.name[2])
          into filled;
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
    {count}
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
  filled bool;
begin
  {asleep}
  filled := row_security_active(tg_relid) or not has_table_privilege(tg_relid, 'select');
  if not filled then
    execute format('select exists (select from only %I.%I)', here, name) into filled;
  end if;
  if filled and not array[name, here || '.' || name] && {allowed}::text[] then
    {count}
    raise exception '% %; allow it once with ENTRYPOINT_ALLOW_LOSS=%', {refuses}, label, label;
  end if;
  return null;
end
"""

# Of other roles' sessions a plain role sees no more than that they are there.
_BEFORE: Final = """
select clock_timestamp()::text, array (select pid from pg_stat_activity where pid is not null)
"""

_COUNTER: Final = f"""
create function pg_temp.{COUNTER}() returns void language plpgsql as 'begin end';
select 'pg_temp.{COUNTER}'::regproc::oid::int8, pg_my_temp_schema()::regnamespace::text
"""

TRY_S: Final = 0.2
"""Seconds that a removal waits for a table, and with it all who come after."""

_BRIEFLY: Final = f"set lock_timeout = {int(TRY_S * 1000)}"

_DROP: Final = f"""
drop function if exists pg_temp.{ON_DROP}(), pg_temp.{ON_TRUNCATE}(), pg_temp.{COUNTER}() cascade
"""

# Every transaction of it is short: CREATE INDEX CONCURRENTLY waits for older ones.
_WATCH: Final = f"""
do $$ begin
  while exists (select from pg_stat_get_activity(%d)) loop
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

_SHARED_SINCE: Final = 150000
"""The first server version whose statistics are in shared memory, not in a file."""

WAKE_S: Final = 5.0
"""Seconds in which the server must end a watch."""

STALE_S: Final = 0.6
"""Seconds that the file may be old, and a little more."""


class Refusal:
    """The functions of one guard in its session, which they do not outlive.

    They are asleep unless that session holds an advisory lock of a random key, so that what a
    crashed server left refuses nothing.
    """

    def __init__(self, session: Session, tables: Sequence[Table], allowed: Collection[str]) -> None:
        """Take the lock and prepare; ``tables`` are those with rows, ``allowed`` names may go."""
        self.session = session
        self.counter: int | None = None
        connection = session.connection
        high, low = (secrets.randbits(31) for _ in range(2))
        connection.execute("select pg_catalog.pg_advisory_lock(%s, %s)", [high, low])
        [(since, there)] = first_rows(connection, _BEFORE)
        count: sql.Composable = sql.SQL("")
        try:
            connection.execute("set track_functions = 'pl'")
            *_, (self.counter, schema) = first_rows(connection, _COUNTER)
            count = sql.SQL("perform {}();").format(sql.Identifier(schema, COUNTER))
        except psycopg.Error:
            if connection.broken:
                raise
        self._words: dict[str, sql.Composable] = {
            "high": sql.Literal(high),
            "low": sql.Literal(low),
            "since": sql.Literal(since),
            "there": sql.Literal(there),
            "tables": sql.Literal([str(table.oid) for table in tables]),
            "allowed": sql.Literal(list(allowed)),
            "refuses": sql.Literal(REFUSES),
            "count": count,
        }

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
            "create function pg_temp.{} () returns {} language plpgsql security definer "
            "set search_path = pg_catalog {} as {}"
        )
        tracked = sql.SQL("" if self.counter is None else "set track_functions = 'pl'")
        names = sql.Identifier(name), sql.SQL(returns), tracked, sql.Literal(text)
        return statement.format(*names).as_string(self.session.connection)

    def happened(self) -> bool:
        """Whether anything was refused, even if the push hides the server's error.

        The server counts calls of a function whether or not their transaction is rolled back
        (https://www.postgresql.org/docs/current/monitoring-stats.html, pg_stat_user_functions).
        False where the role may not have it count.
        """
        self.wake()
        if self.counter is None:
            return False
        if not self._calls() and self.session.server_version < _SHARED_SINCE:
            time.sleep(STALE_S)
        return self._calls() > 0

    def _calls(self) -> int:
        query = "select coalesce(pg_catalog.pg_stat_get_function_calls(%s), 0)"
        row = self.session.connection.execute(query, [self.counter]).fetchone()
        return int(row[0]) if row else 0

    def sleep(self) -> None:
        """Refuse nothing any more."""
        self.wake()
        self.session.connection.execute("select pg_catalog.pg_advisory_unlock_all()")

    def drop(self) -> bool:
        """Remove the functions with all triggers that call them; whether nobody was in the way."""
        try:
            self.session.connection.execute(f"{_BRIEFLY}; {_DROP}")
        except psycopg.Error:
            if self.session.connection.broken:
                raise
            return False
        return True

    def watch(self, pid: int | None) -> None:
        """Have the server itself remove them when the session with this pid is gone, or at once.

        It does so even if we are gone too: a backend notices that when it is done with what it was
        sent. Until `wake` the session can do nothing else.
        """
        self.session.connection.execute(_BRIEFLY)
        pgconn = self.session.connection.pgconn
        pgconn.send_query((_WATCH % (pid or 0)).encode())
        pgconn.flush()

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
