"""The locks of a transfer and its snapshot: what makes it see every acknowledged row.

Whoever is in the way of a lock is named.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from psycopg import errors

from ..errors import EntrypointError, TransferError
from ..operator.server import Server
from ..postgres import blockers
from ..postgres.session import Session, translated
from ..postgres.sql import load_sql
from ..postgres.transfers import target_key
from .obstacle import Problem
from .plan import Plan

KEY: Final = 0x656E747279  # "entry"
"""Of the advisory lock in the source: one transfer at a time."""

TIMEOUT_S: Final = 10.0
"""Seconds to try to get locks, or to wait for one that nobody else waits for."""

PLAN_S: Final = 1.0
"""Seconds to wait for any lock while nothing is done but looked at."""

ATTEMPT_S: Final = 0.8
"""Seconds that one attempt waits for a lock; less than the server waits until it looks for a
deadlock, so that nobody but us is ever its victim."""

PAUSE_S: Final = 0.2
"""Seconds between two attempts, for those who waited behind us."""

T = TypeVar("T")

LOCK_NOT_AVAILABLE: Final = "55P03"


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
        return error(session, oids, "ShareLock", what)

    with translated("locking the tables", remedy="Start again."):
        connection.execute("begin isolation level repeatable read")
        if tables:
            insist(session, TIMEOUT_S, lambda: connection.execute(lock), failed)
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
    with ExitStack() as failing:
        session = failing.enter_context(closing(server.session(database)))
        require_direct(session)
        _lock(session, KEY, f"from {database!r}", take=alone)
        failing.pop_all()
    return session


def open_target(server: Server, name: str) -> Session:
    """A session that keeps others from moving anything to the target, from whatever source.

    It is in the server's first maintenance database. Raises `TransferError` when somebody does.
    """
    with ExitStack() as failing:
        session = failing.enter_context(closing(server.open()))
        _lock(session, target_key(name), f"to {name!r}")
        failing.pop_all()
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


def require_direct(session: Session) -> None:
    """Raise `TransferError` behind a pooler, where neither lock nor snapshot would hold."""
    if session.pooled:
        raise TransferError(
            "a pooler stands between, through which no snapshot can be shared",
            remedy="Name the server itself by --server.",
        )


def locked(session: Session, plan: Plan, *, waiting: bool = False) -> Iterator[Problem]:
    """Tables of the plan that somebody has locked, or is ``waiting`` to, so that nobody reads."""
    found = blockers.of_relations(session, list(plan.moving))
    for relation in dict.fromkeys(each.relation for each in found if each.held or waiting):
        words, remedy = blockers.told([each for each in found if each.relation == relation])
        yield Problem(
            f"locked:{relation}",
            f"nobody can read {relation!r}: {words}",
            f"{remedy}.",
            allowable=False,
        )


def error(session: Session, oids: Collection[int] | None, wanted: str, what: str) -> TransferError:
    """What to raise when a lock was not to be had: says who is in the way, if anybody still is.

    ``session`` is in no transaction that failed. ``wanted`` is a mode of `blockers.AGAINST`.
    """
    return _told(what, blockers.of_relations(session, oids, wanted))


def _told(what: str, found: list[blockers.InTheWay]) -> TransferError:
    if not found:
        return TransferError(what, remedy="Run it again: nobody seems to be in the way any more.")
    words, remedy = blockers.told(found)
    return TransferError(f"{what}: {words}", remedy=f"{remedy}; then run it again.")


def insist(
    session: Session, seconds: float, work: Callable[[], T], failed: Callable[[], TransferError]
) -> T:
    """Do what needs locks in the session's open transaction, trying for about so many seconds.

    Others wait behind us for `ATTEMPT_S` seconds at the most, then it is their turn. What comes
    later in the transaction waits for so many seconds. Raises what ``failed`` returns, and what
    ``work`` raises besides.
    """
    connection, deadline = session.connection, time.monotonic() + seconds
    while True:
        try:
            with session.savepoint(f"set local lock_timeout = {int(ATTEMPT_S * 1000)}"):
                done = work()
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if time.monotonic() > deadline:
                raise failed() from None
            time.sleep(PAUSE_S)
        else:
            connection.execute(f"set local lock_timeout = {int(seconds * 1000)}".encode())
            return done


def unused(
    session: Session, oids: Collection[int], seconds: float, failed: Callable[[], TransferError]
) -> None:
    """Wait until nobody has any lock on these relations; raises what ``failed`` returns.

    Takes no lock, so nobody waits behind us.
    """
    deadline = time.monotonic() + seconds
    while blockers.of_relations(session, oids, "AccessExclusiveLock"):
        if time.monotonic() > deadline:
            raise failed()
        time.sleep(PAUSE_S)


@contextmanager
def explained(places: Sequence[tuple[Server, str]]) -> Iterator[None]:
    """Say who is in the way when any statement of the body did not get its lock in time.

    ``places`` are the databases in which who waits may be; what all databases share is looked at
    besides. Raises `TransferError` then.
    """
    try:
        yield
    except EntrypointError as error:
        if error.fields.get("sqlstate") != LOCK_NOT_AVAILABLE:
            raise
        found: list[blockers.InTheWay] = []
        changing: list[blockers.InTheWay] = []
        for server, database in places:
            with suppress(EntrypointError), closing(server.session(database)) as session:
                found += blockers.of_relations(session, None)
                changing = changing or blockers.changing(session)
        raise _told(error.message, found or changing) from None
