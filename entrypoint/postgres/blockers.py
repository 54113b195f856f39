"""What a session waits for, and who is in its way."""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

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


# Who may not see another role's session sees its pid, its role and what it calls itself. A prepared
# transaction has no session at all.
_OF_RELATIONS: Final = """
select case nspname when 'public' then '' else nspname || '.' end || relname, l.mode, l.granted,
  l.pid, a.application_name, a.usename::text, case when a.backend_type is not null
    then coalesce(host(a.client_addr), 'a local socket') end,
  to_char(coalesce(a.xact_start, p.prepared) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
  p.gid
from pg_catalog.pg_locks l
join pg_catalog.pg_class c on c.oid = l.relation
join pg_catalog.pg_namespace n on n.oid = relnamespace
left join pg_catalog.pg_stat_activity a on a.pid = l.pid
left join pg_catalog.pg_locks x on l.pid is null and x.pid is null
  and x.locktype = 'transactionid' and x.virtualtransaction = l.virtualtransaction
left join pg_catalog.pg_prepared_xacts p on p.transaction = x.transactionid
where l.database = (select oid from pg_catalog.pg_database
                    where datname = pg_catalog.current_database())
  and (l.relation = any (%(oids)s) or %(oids)s::oid[] is null and l.relation >= 16384
    and relkind in ('r', 'p', 'v', 'm', 'S', 'f'))
  and l.mode = any (%(modes)s) and l.pid is distinct from pg_catalog.pg_backend_pid()
order by not l.granted, coalesce(a.xact_start, p.prepared), 1, 2, 4 limit 100
"""

_MODES: Final = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)

AGAINST: Final = {
    "AccessShareLock": _MODES[7:],
    "ShareLock": (_MODES[2], _MODES[3], *_MODES[5:]),
    "AccessExclusiveLock": _MODES,
}
"""Which locks of others keep one of ours waiting."""


class InTheWay(NamedTuple):
    """Somebody else's lock on a relation, held or waited for."""

    relation: str
    """For people."""

    mode: str
    held: bool
    pid: int | None
    """None of a prepared transaction."""

    application_name: str | None
    role: str | None
    address: str | None
    """None where the role may not see it."""

    since: str | None
    """When its transaction began, in UTC; None where the role may not see it."""

    prepared: str | None
    """The name of a prepared transaction."""

    def who(self) -> str:
        """The session, or the prepared transaction, in words."""
        since = f"since {self.since}" if self.since else ""
        if self.pid is None:
            return f"the prepared transaction {self.prepared!r} ({since})"
        words = (
            self.application_name or "no name",
            f"role {self.role}" if self.role else "",
            f"from {self.address}" if self.address else "",
            since,
        )
        return f"pid {self.pid} ({', '.join(filter(None, words))})"

    def words(self) -> str:
        """Who does what to which relation."""
        return (
            f"{self.who()} {'holds' if self.held else 'waits for'} {self.mode} on {self.relation}"
        )

    def ends(self) -> str:
        """The statement that ends it."""
        if self.pid is None:
            gid = sql.Literal(self.prepared).as_string()
            return f"COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid}"
        return f"SELECT pg_terminate_backend({self.pid})"


def of_relations(
    session: Session, oids: Collection[int] | None, wanted: str = "AccessShareLock"
) -> list[InTheWay]:
    """Who keeps a lock of a mode in `AGAINST` waiting on relations, or on any that is a user's.

    Those that hold one first, the oldest transaction first. In a transaction or savepoint of its
    own; empty when that cannot look, or nobody is in the way any more. Takes no lock itself.
    """
    params = {
        "oids": None if oids is None else list(oids),
        "modes": list(AGAINST[wanted]),
    }
    try:
        with session.transaction():
            # A transaction keeps the list of sessions that it saw first.
            session.connection.execute("select pg_catalog.pg_stat_clear_snapshot()")
            rows = session.connection.execute(_OF_RELATIONS, params).fetchall()
    except psycopg.Error:
        return []
    return [InTheWay(*row) for row in rows]


def told(found: Sequence[InTheWay], *, most: int = 5) -> tuple[str, str]:
    """Up to ``most`` of those who are in the way in words, and how to end them."""
    by_who = {each.who(): each for each in reversed(found)}  # the first of each is kept
    firsts = [each for each in found if by_who[each.who()] is each][:most]
    rest = len(by_who) - len(firsts)
    words = "; ".join(each.words() for each in firsts) + (f"; and {rest} more" if rest else "")
    holders = [each for each in firsts if each.held] or firsts
    return words, f"Wait for it, or run {'; '.join(each.ends() for each in holders)}"


_CHANGING: Final = """
select pid, application_name, usename::text,
  case when backend_type is not null then coalesce(host(client_addr), 'a local socket') end,
  to_char(xact_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
from pg_catalog.pg_stat_activity
where backend_xid is not null and pid <> pg_catalog.pg_backend_pid()
order by xact_start limit 100
"""


def changing(session: Session) -> list[InTheWay]:
    """Open transactions that have changed something, in any database, the oldest first.

    For who waits for no relation but for a row of a catalog, such as a database's or a schema's.
    Sessions of other roles are not seen by who may not read all statistics.
    """
    try:
        with session.transaction():
            rows = session.connection.execute(_CHANGING).fetchall()
    except psycopg.Error:
        return []
    return [
        InTheWay("what it changed", "a lock", True, pid, name, role, address, since, None)  # noqa: FBT003  a field
        for pid, name, role, address, since in rows
    ]
