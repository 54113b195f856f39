"""What a session waits for, and who is in its way."""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from .session import Session
from .sql import load_sql

LOOK_S: Final = 5.0
"""Seconds that `find` may take."""


def of_readers(session: Session) -> list[str]:
    """Up to five tables that nobody can read now, and who has locked each, in words.

    In a transaction or savepoint of its own; empty when that cannot look.
    """
    try:
        with session.transaction():
            rows = session.rows("postgres/unreadable_tables")
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
            cursor = connection.execute(
                load_sql("postgres/blocked_children"), {"name": name, "ports": list(ports)}
            )
            sessions, blocked_by = cursor.fetchone() or (None, None)
    except psycopg.Error:
        return {}
    fields: dict[str, Any] = {"sessions": sessions or []}
    if blocked_by:
        fields["blocked_by"] = blocked_by
        fields["remedy"] = "End what blocks it with pg_terminate_backend(pid), or wait for it."
    return fields


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
            rows = session.rows("postgres/locks_on_relations", params)
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


def changing(session: Session) -> list[InTheWay]:
    """Open transactions that have changed something, in any database, the oldest first.

    For who waits for no relation but for a row of a catalog, such as a database's or a schema's.
    Sessions of other roles are not seen by who may not read all statistics.
    """
    try:
        with session.transaction():
            rows = session.rows("postgres/changing_transactions")
    except psycopg.Error:
        return []
    return [
        InTheWay("what it changed", "a lock", True, pid, name, role, address, since, None)  # noqa: FBT003  a field
        for pid, name, role, address, since in rows
    ]
