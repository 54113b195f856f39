"""The source's locks and its snapshot: what makes a transfer see every acknowledged row."""

from dataclasses import dataclass
from typing import Final

from ..errors import TransferError
from ..operator.server import Server
from ..postgres.session import Session, translated
from ..postgres.sql import load_sql
from ..postgres.transfers import target_key
from . import beside
from .plan import Plan
from .target import require_direct

KEY: Final = 0x656E747279  # "entry"
"""Of the advisory lock in the source: one transfer at a time."""

TIMEOUT_S: Final = 10.0
"""Seconds to try to get locks, or to wait for one that nobody else waits for."""


@dataclass
class Alive:
    """The source's session as a watch: without it the snapshot and the locks are gone."""

    session: Session

    def fileno(self) -> int:
        """The socket to watch."""
        return self.session.connection.fileno()

    def check(self) -> None:
        """Raise `TransferError` if the session is gone."""
        if self.session.gone():
            raise TransferError(
                "the session that holds the source's locks was lost",
                remedy="Find in the server's log who ended it, and run the transfer again.",
            )


def take(session: Session, plan: Plan) -> None:
    """Begin the transaction of the move and lock its tables against writers.

    Readers go on. The locks come first: the snapshot of the transaction is taken after them, so
    that no acknowledged row is missing in it. Raises `TransferError` when a lock is not to be had
    within `TIMEOUT_S` seconds.
    """
    tables = [each.quoted() for each in plan.relations if each.kind in "rp"]
    oids = [each.oid for each in plan.relations if each.kind in "rp"]
    connection = session.connection
    lock = f"lock table {', '.join(tables)} in share mode".encode()

    def failed() -> TransferError:
        what = f"the tables could not be locked within {TIMEOUT_S:.0f} s"
        return beside.error(session, oids, "ShareLock", what)

    with translated("locking the tables", remedy="Start again."):
        connection.execute("begin isolation level repeatable read")
        if tables:
            beside.insist(session, TIMEOUT_S, lambda: connection.execute(lock), failed)
        connection.execute(load_sql("transfer/quiet"))  # a query, so not before the locks


def export(session: Session) -> str:
    """Share the transaction's snapshot; its name is good as long as the transaction."""
    with translated("exporting a snapshot", remedy="Start again."):
        row = session.connection.execute("select pg_catalog.pg_export_snapshot()").fetchone()
    return str(row[0]) if row else ""


def begin(session: Session, snapshot: str | None) -> None:
    """Begin to read, from a shared snapshot where one is named."""
    with translated("beginning to compare", remedy="Run the transfer again."):
        session.connection.execute("begin isolation level repeatable read read only")
        if snapshot:
            session.connection.execute(f"set transaction snapshot '{snapshot}'".encode())


def open_source(server: Server, database: str, *, alone: bool = True) -> Session:
    """A session in the source that nobody else transfers from.

    When it need not be ``alone``, it keeps nobody from transferring. Raises `TransferError` when
    somebody does, or behind a pooler.
    """
    session = server.session(database)
    try:
        require_direct(session)
        _lock(session, KEY, f"from {database!r}", take=alone)
    except BaseException:
        session.close()
        raise
    return session


def open_target(server: Server, name: str) -> Session:
    """A session that keeps others from moving anything to the target, from whatever source.

    It is in the server's first maintenance database. Raises `TransferError` when somebody does.
    """
    session = server.open()
    try:
        _lock(session, target_key(name), f"to {name!r}")
    except BaseException:
        session.close()
        raise
    return session


def _lock(session: Session, key: int, what: str, *, take: bool = True) -> None:
    with translated("taking the transfer's lock", remedy="Start again."):
        query = "select pg_catalog.pg_try_advisory_lock(%s)"
        row = session.connection.execute(query, [key]).fetchone() if take else None
        if row and row[0]:
            return
        halves = [key >> 32, key & 0xFFFFFFFF]
        holder = session.row("transfer/transfer_holder", halves)
    if not (take or holder):
        return
    pid, name, where, since = holder or ("unknown", "somebody", None, "an unknown time")
    raise TransferError(
        f"another transfer {what} is under way: pid {pid} ({name}, from "
        f"{where or 'a local socket'}, since {since})",
        remedy="Wait until it is done.",
    )
