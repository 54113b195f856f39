"""What a child's server sessions wait for, and who is in their way."""

from collections.abc import Collection
from typing import Any, Final

import psycopg

from .session import Session

# Statements are left out on both sides, but for their command: they may hold anything.
_FIND: Final = r"""
with child as (
  select * from pg_catalog.pg_stat_activity
  where (application_name = %(name)s
         or client_port = any (%(ports)s) and client_addr = pg_catalog.inet_client_addr())
    and pid <> pg_catalog.pg_backend_pid() and datname = pg_catalog.current_database()
), blocker as (
  select distinct child.pid as blocked, b.pid from child
  cross join lateral unnest(pg_catalog.pg_blocking_pids(child.pid)) as b (pid)
)
select
  (select json_agg(json_build_object('pid', pid, 'state', state,
     'waits_for', coalesce((select l.mode || ' on ' || coalesce((
          select case nspname when 'public' then '' else nspname || '.' end || relname
          from pg_class c join pg_namespace n on n.oid = relnamespace where c.oid = l.relation),
        l.locktype) from pg_catalog.pg_locks l where l.pid = child.pid and not l.granted limit 1),
        wait_event_type || ': ' || wait_event),
     'since', to_char(state_change at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
     'state_s', round(extract(epoch from clock_timestamp() - state_change)),
     'kind', upper(substring(query from
        '(?i)^\s*(alter|analyze|call|cluster|commit|copy|create|delete|do|drop|'
        'grant|insert|lock|merge|refresh|reindex|select|truncate|update|vacuum|with)\M'))))
   from child),
  (select json_agg(json_build_object('pid', a.pid, 'application_name', application_name,
     'client_addr', host(client_addr), 'state', state,
     'since', to_char(xact_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')))
   from pg_catalog.pg_stat_activity a
   where a.pid in (select pid from blocker) and a.pid not in (select pid from child))
"""

LOOK_S: Final = 5.0
"""Seconds that `find` may take."""

_OF_READERS: Final = """
select case nspname when 'public' then '' else nspname || '.' end || relname, a.pid,
  coalesce(nullif(application_name, ''), 'somebody'), coalesce(host(client_addr), 'a local socket')
from pg_catalog.pg_locks l
join pg_catalog.pg_stat_activity a on a.pid = l.pid and a.pid <> pg_catalog.pg_backend_pid()
join pg_catalog.pg_class c on c.oid = l.relation and relkind in ('r', 'p')
join pg_catalog.pg_namespace n on n.oid = relnamespace
where l.granted and l.mode = 'AccessExclusiveLock' and left(nspname, 3) <> 'pg_'
  and l.database = (select oid from pg_catalog.pg_database
                    where datname = pg_catalog.current_database())
order by 1, 2 limit 5
"""


def of_readers(session: Session) -> list[str]:
    """Up to five tables that nobody can read now, and who has locked each, in words.

    In a transaction or savepoint of its own; empty when that cannot look.
    """
    try:
        with session.transaction():
            rows = session.connection.execute(_OF_READERS).fetchall()
    except psycopg.Error:
        return []
    return [f"{name} has {table} locked (pid {pid}, from {at})" for table, pid, name, at in rows]


def find(session: Session, name: str, ports: Collection[int]) -> dict[str, Any]:
    """The sessions of an application_name or from local ports, and who blocks them.

    As fields of an event: ``sessions`` and ``blocked_by``, with a remedy where there is one. Looks
    from the session's open transaction; empty when that cannot look, which its next statement will
    tell.
    """
    connection = session.connection
    try:
        # A push may be silent for as long as it likes, and each look has the same time.
        with session.transaction(undone=True, timeout_s=LOOK_S):
            # A transaction keeps the list of sessions that it saw first.
            connection.execute("select pg_catalog.pg_stat_clear_snapshot()")
            cursor = connection.execute(_FIND, {"name": name, "ports": list(ports)})
            sessions, blocked_by = cursor.fetchone() or (None, None)
    except psycopg.Error:
        return {}
    fields: dict[str, Any] = {"sessions": sessions or []}
    if blocked_by:
        fields["blocked_by"] = blocked_by
        fields["remedy"] = "End what blocks it with pg_terminate_backend(pid), or wait for it."
    return fields
