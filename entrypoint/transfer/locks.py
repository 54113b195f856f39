"""The locks and the snapshot of a transfer, by which it sees every acknowledged row.

The server keeps a lock until the end of its transaction, in a table that all its clients share. So
a transfer works in batches wherever several transactions will do. Keeping writers away and the swap
need one transaction each; before it locks anything, the transfer compares their need with the room.
"""

import math
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
from .obstacle import Problem, final
from .plan import Plan
from .source import queried

KEY: Final = 0x656E747279  # "entry", the key of a source's advisory lock: one transfer at a time
TIMEOUT_S: Final = 10.0  # seconds to try for locks, or to wait for a lock that nobody else wants
PLAN_S: Final = 1.0  # seconds to wait for a lock while the transfer only looks
ATTEMPT_S: Final = 0.8
"""Seconds that one attempt waits for a lock; less than deadlock_timeout, so that the server never
ends another session to resolve a deadlock with this one."""

PAUSE_S: Final = 0.2  # seconds between two attempts, in which the sessions behind this one go on
BATCH: Final = 100  # objects that one transaction changes; one table may need 20 locks
SHARE: Final = 1.4
"""Locks to use, as a multiple of what the settings ask for. PostgreSQL 14 to 18 have memory for at
least 1.55 times as many, and other sessions keep the rest."""

MARGIN: Final = 1.25  # the factor of a remedy over the need: others may hold more later
SPARE: Final = 400  # locks on catalogs, of our other sessions, and of one batch
_SEQUENCES_AT_ONCE: Final = 180000  # since this server version pg_dump locks no sequences
T = TypeVar("T")
LOCK_NOT_AVAILABLE: Final = "55P03"


@dataclass
class Alive:
    """The source's session as a watch: its end releases the locks and the snapshot."""

    session: Session

    def fileno(self) -> int:
        """The session's socket."""
        return self.session.connection.fileno()

    def check(self) -> None:
        """Raise `TransferError` if the session is gone."""
        if self.session.gone():
            raise TransferError(
                "the session that held the source's locks ended",
                remedy="Look for the reason in the server's log, and run the transfer again.",
            )


def take(session: Session, plan: Plan) -> None:
    """Begin the transaction of the move and lock its tables against writers, not against readers.

    The transaction takes its snapshot after the locks, so the snapshot has every acknowledged row.
    Raises `TransferError` after `TIMEOUT_S` seconds without a lock.
    """
    tables = [each.quoted() for each in plan.relations if each.kind in "rp"]
    oids = [each.oid for each in plan.relations if each.kind in "rp"]
    connection = session.connection
    lock = f"lock table {', '.join(tables)} in share mode".encode()

    def failed() -> TransferError:
        what = f"the transfer could not lock the tables within {TIMEOUT_S:.0f} s"
        return error(session, oids, "ShareLock", what)

    with translated("locking the tables", remedy="Run the command again."):
        connection.execute("begin isolation level repeatable read")
        if tables:
            insist(session, TIMEOUT_S, lambda: connection.execute(lock), failed)
        connection.execute(load_sql("transfer/quiet"))  # a query takes the snapshot


def export(session: Session) -> str:
    """Share the transaction's snapshot; its name is valid until the transaction ends."""
    with translated("exporting a snapshot", remedy="Run the command again."):
        row = session.connection.execute("select pg_catalog.pg_export_snapshot()").fetchone()
    return str(row[0]) if row else ""


def begin(session: Session, snapshot: str | None) -> None:
    """Begin a transaction that reads, from a shared snapshot if the caller names one."""
    with translated("beginning to compare", remedy="Run the transfer again."):
        session.connection.execute("begin isolation level repeatable read read only")
        if snapshot:
            session.connection.execute(f"set transaction snapshot '{snapshot}'".encode())


def open_source(server: Server, database: str, *, alone: bool = True) -> Session:
    """Open a session in the source, and keep other transfers from that source.

    Without ``alone`` it only looks whether another transfer runs. Raises `TransferError` if one
    does, or behind a pooler.
    """
    with ExitStack() as failing:
        session = failing.enter_context(closing(server.session(database)))
        require_direct(session)
        _lock(session, KEY, f"from {database!r}", take=alone)
        failing.pop_all()
    return session


def open_target(server: Server, name: str) -> Session:
    """Open a session that keeps other transfers from this target, whatever their source.

    The session is in the server's first maintenance database. Raises `TransferError` if another
    transfer to this target runs.
    """
    with ExitStack() as failing:
        session = failing.enter_context(closing(server.open()))
        _lock(session, target_key(name), f"to {name!r}")
        failing.pop_all()
    return session


def _lock(session: Session, key: int, what: str, *, take: bool = True) -> None:
    with translated("taking the transfer's lock", remedy="Run the command again."):
        query = "select pg_catalog.pg_try_advisory_lock(%s)"
        row = session.connection.execute(query, [key]).fetchone() if take else None
        if row and row[0]:
            return
        halves = [key >> 32, key & 0xFFFFFFFF]
        holder = session.row("transfer/transfer_holder", halves)
    if not (take or holder):
        return
    pid, name, where, since = holder or ("unknown", "unknown", None, "an unknown time")
    raise TransferError(
        f"another transfer {what} is under way: pid {pid} ({name}, from "
        f"{where or 'a local socket'}, since {since})",
        remedy="Wait for its end, and run the command again.",
    )


def require_direct(session: Session) -> None:
    """Raise `TransferError` behind a pooler, which would keep neither locks nor snapshots."""
    if session.pooled:
        raise TransferError(
            "the connection goes through a pooler, which cannot share a snapshot",
            remedy="Use --server to name the PostgreSQL server itself.",
        )


def locked(session: Session, plan: Plan, *, waiting: bool = False) -> Iterator[Problem]:
    """Problems of tables that a session has locked against readers, or is ``waiting`` to lock."""
    found = blockers.of_relations(session, list(plan.moving))
    for relation in dict.fromkeys(each.relation for each in found if each.held or waiting):
        words, remedy = blockers.told([each for each in found if each.relation == relation])
        yield final(
            f"locked:{relation}", f"readers of {relation!r} have to wait: {words}", f"{remedy}."
        )


def error(session: Session, oids: Collection[int] | None, wanted: str, what: str) -> TransferError:
    """The error after a wait for a lock; it names the sessions that are still in the way.

    ``session`` is in no failed transaction. ``wanted`` is a mode of `blockers.AGAINST`.
    """
    return _told(what, blockers.of_relations(session, oids, wanted))


def _told(what: str, found: list[blockers.InTheWay]) -> TransferError:
    if not found:
        return TransferError(what, remedy="Run the command again: no session is in the way now.")
    words, remedy = blockers.told(found)
    return TransferError(f"{what}: {words}", remedy=f"{remedy}; then run the command again.")


def insist(
    session: Session, seconds: float, work: Callable[[], T], failed: Callable[[], TransferError]
) -> T:
    """Do what needs locks in the session's open transaction, and try again for about ``seconds``.

    Other sessions queue behind an attempt for at most `ATTEMPT_S` seconds, and then proceed. Later
    statements of the transaction wait for a lock for ``seconds``. Raises what ``failed`` returns,
    and other errors of ``work``.
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
    """Wait, without a lock, until no session has one on these relations, or raise ``failed()``."""
    deadline = time.monotonic() + seconds
    while blockers.of_relations(session, oids, "AccessExclusiveLock"):
        if time.monotonic() > deadline:
            raise failed()
        time.sleep(PAUSE_S)


@contextmanager
def explained(places: Sequence[tuple[Server, str]]) -> Iterator[None]:
    """Name the sessions in the way if a statement of the body does not get its lock in time.

    ``places`` are the databases to look in; objects that all databases share come on top. Raises
    `TransferError` then.
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


def batches(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Yield the items in their order, ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def in_batches(session: Session, statements: Sequence[str]) -> None:
    """Execute each batch as one message, because others wait until the last one is done.

    Raises psycopg's errors.
    """
    for batch in batches(statements):
        session.connection.execute("; ".join(batch).encode())


def _need(session: Session, plan: Plan, *, workers: bool) -> int:
    """The locks that a plan holds at one time, at most, on the session's server.

    Those are ours and pg_dump's, whose workers lock each table once more; or later, in the swap,
    ours on everything that goes into quarantine.
    """
    left = {each.oid for each in plan.not_copied}
    dumped = [each for each in plan.source.relations.values() if each.oid not in left]
    locks = sum(each.kind in "rp" for each in plan.relations)
    locks += sum(each.kind in "rp" for each in dumped) * (2 if workers else 1)
    if session.server_version < _SEQUENCES_AT_ONCE:
        locks += sum(each.kind == "S" for each in dumped)
    return max(locks, len(plan.relations) + len(plan.own)) + SPARE


def _lacking(session: Session, locks: int) -> tuple[str, str] | None:
    """The error and the remedy if the server has no room for so many more locks.

    Raises `RefusedError` and `UnreachableError`.
    """
    doing = "looking at the server's locks"
    [(per_transaction, transactions, used)] = queried(session, doing, "transfer/lock_table")
    most = int(per_transaction * transactions * SHARE)
    if used + locks <= most:
        return None
    wanted = math.ceil((used + locks) * MARGIN / transactions / SHARE)
    message = (
        f"this needs {locks} locks at a time; the server has {most} for all sessions, which hold "
        f"{used} now (max_locks_per_transaction is {per_transaction})"
    )
    setting = f"ALTER SYSTEM SET max_locks_per_transaction = {wanted}"
    return message, f"Run {setting}, and restart the server."


def problems(session: Session, plan: Plan) -> list[Problem]:
    """Report a plan that does not fit into the lock table of the source's server."""
    lacking = _lacking(session, _need(session, plan, workers=False))
    return [final("locks", *lacking)] if lacking else []


def jobs(session: Session, plan: Plan, asked: int) -> int:
    """The number of jobs that pg_dump has room for; only a single one locks each table once."""
    return 1 if _lacking(session, _need(session, plan, workers=True)) else asked


def require_room(session: Session, locks: int) -> None:
    """Raise `TransferError` if there is no room for so many more locks."""
    if lacking := _lacking(session, locks + SPARE):
        message, remedy = lacking
        raise TransferError(message, remedy=remedy)
