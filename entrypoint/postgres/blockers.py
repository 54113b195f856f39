"""What a session waits for, and which sessions block it."""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.abc import Params
from psycopg.rows import TupleRow

from .session import Session
from .sql import load_sql

LOOK_S: Final = 5.0


def of_readers(session: Session) -> list[str]:
    """Describe up to five tables that nobody can read, and who locked each; empty on failure."""
    rows = _rows(session, "postgres/unreadable_tables")
    return [f"{name} has {table} locked (pid {pid}, from {at})" for table, pid, name, at in rows]


def _rows(
    session: Session, query: str, params: Params | None = None, *, anew: bool = False
) -> list[TupleRow]:
    try:
        with session.transaction():
            if anew:  # a transaction keeps its first view of pg_stat_activity
                session.connection.execute("select pg_catalog.pg_stat_clear_snapshot()")
            return session.rows(query, params)
    except psycopg.Error:
        return []


def find(session: Session, name: str, ports: Collection[int]) -> dict[str, Any]:
    """Find the sessions with an application_name or from local ports, and who blocks them.

    Returns fields of an event: ``sessions``, ``blocked_by``, and a ``remedy`` if something blocks.
    Runs in a savepoint of the session's open transaction; returns no fields if the query fails, and
    leaves it to the session's next statement to report a lost connection.
    """
    connection = session.connection
    try:
        # A push may stay silent for hours, so each look has a time limit of its own.
        with session.transaction(undone=True, timeout_s=LOOK_S):
            # A transaction keeps its first view of pg_stat_activity.
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
        fields["remedy"] = "End the blocking session by pg_terminate_backend(pid), or wait for it."
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

AGAINST: Final = {  # the modes that conflict with each mode for which the program waits
    "AccessShareLock": _MODES[7:],
    "ShareLock": (_MODES[2], _MODES[3], *_MODES[5:]),
    "AccessExclusiveLock": _MODES,
}


class InTheWay(NamedTuple):
    """A lock on a relation that another session or a prepared transaction holds or waits for."""

    relation: str
    mode: str
    held: bool
    pid: int | None  # None for a prepared transaction
    application_name: str | None
    role: str | None
    address: str | None  # None if our role may not see it
    since: str | None  # when its transaction began, in UTC; None if our role may not see it
    prepared: str | None  # the GID of a prepared transaction

    def who(self) -> str:
        """Describe the session or the prepared transaction."""
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
        """Say which session has which lock on which relation."""
        return (
            f"{self.who()} {'holds' if self.held else 'waits for'} {self.mode} on {self.relation}"
        )

    def ends(self) -> str:
        """The statement that ends the session or the prepared transaction."""
        if self.pid is None:
            gid = sql.Literal(self.prepared).as_string()
            return f"COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid}"
        return f"SELECT pg_terminate_backend({self.pid})"


def of_relations(
    session: Session, oids: Collection[int] | None, wanted: str = "AccessShareLock"
) -> list[InTheWay]:
    """Find locks on relations that conflict with ``wanted``, one of the modes in `AGAINST`.

    ``oids`` None means every user relation. Holders come first, the oldest transaction first. Opens
    a transaction or a savepoint and takes no lock; returns an empty list if the query fails.
    """
    params = {"oids": None if oids is None else list(oids), "modes": list(AGAINST[wanted])}
    rows = _rows(session, "postgres/locks_on_relations", params, anew=True)
    return [InTheWay(*row) for row in rows]


def told(found: Sequence[InTheWay], *, most: int = 5) -> tuple[str, str]:
    """Describe up to ``most`` of the locks' owners, and say how to end them."""
    by_who = {each.who(): each for each in reversed(found)}  # keeps the first of each
    firsts = [each for each in found if by_who[each.who()] is each][:most]
    rest = len(by_who) - len(firsts)
    words = "; ".join(each.words() for each in firsts) + (f"; and {rest} more" if rest else "")
    holders = [each for each in firsts if each.held] or firsts
    return words, f"Wait for it, or run {'; '.join(each.ends() for each in holders)}"


def changing(session: Session) -> list[InTheWay]:
    """Find open transactions in any database that have changed something, the oldest first.

    A session that waits for a row of a catalog, such as a database's or a schema's, waits for one
    of these and not for a relation. Without the right to read all statistics, our role does not see
    the sessions of other roles.
    """
    rows = _rows(session, "postgres/changing_transactions")
    return [
        InTheWay("what it changed", "a lock", True, pid, name, role, address, since, None)  # noqa: FBT003  a field
        for pid, name, role, address, since in rows
    ]
