"""The server's lock table, which all its clients share, and the part that a transfer may use.

The server keeps a lock until the end of its transaction. So a transfer works in batches wherever
several transactions will do. Keeping writers away and the swap need one transaction each; before it
locks anything, the transfer compares their need with the room.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from ..errors import TransferError
from ..postgres.session import Session, translated
from .obstacle import Problem
from .plan import Plan

BATCH: Final = 100  # objects that one transaction changes; one table may need 20 locks

SHARE: Final = 1.4
"""Locks to use, as a multiple of what the settings ask for. PostgreSQL 14 to 18 have memory for at
least 1.55 times as many, and other sessions keep the rest."""

MARGIN: Final = 1.25  # the factor of a remedy over the need: others may hold more later
SPARE: Final = 400  # locks on catalogs, of our other sessions, and of one batch
_SEQUENCES_AT_ONCE: Final = 180000  # since this server version pg_dump locks no sequences
T = TypeVar("T")


class Room(NamedTuple):
    """The room in a server's lock table."""

    per_transaction: int  # max_locks_per_transaction
    transactions: int  # the number that the server multiplies max_locks_per_transaction by
    used: int  # locks that other sessions hold now

    @property
    def most(self) -> int:
        """Locks that all sessions together may hold during a transfer."""
        return int(self.per_transaction * self.transactions * SHARE)

    def fits(self, locks: int) -> bool:
        """Whether there is room for so many more locks."""
        return self.used + locks <= self.most

    def wanted(self, locks: int) -> int:
        """The max_locks_per_transaction that gives room for so many more locks, with a margin."""
        return math.ceil((self.used + locks) * MARGIN / self.transactions / SHARE)


class Need(NamedTuple):
    """Locks that a transfer holds at one time, at most."""

    tables: int  # ours on each table that moves
    dump: int  # those of pg_dump's first session
    workers: int  # those of its workers, if it has any: each table once more
    swap: int  # ours on everything that goes into quarantine

    def most(self, *, workers: bool) -> int:
        """The need at the worst moment."""
        dump = self.tables + self.dump + (self.workers if workers else 0)
        return max(dump, self.swap) + SPARE


def batches(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Yield the items in their order, ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def need(session: Session, plan: Plan) -> Need:
    """The locks that a plan needs on the session's server."""
    left = {each.oid for each in plan.not_copied}
    dumped = [each for each in plan.source.relations.values() if each.oid not in left]
    tables = sum(each.kind in "rp" for each in dumped)
    sequences = sum(each.kind == "S" for each in dumped)
    if session.server_version >= _SEQUENCES_AT_ONCE:
        sequences = 0
    ours = sum(each.kind in "rp" for each in plan.relations)
    return Need(ours, tables + sequences, tables, len(plan.relations) + len(plan.own))


def look(session: Session) -> Room:
    """The lock table of the session's server. Raises `RefusedError` and `UnreachableError`."""
    with translated("looking at the server's locks", remedy="Run the command again."):
        [row] = session.rows("transfer/lock_table")
    return Room(*row)


def problems(session: Session, plan: Plan) -> list[Problem]:
    """Report a plan that does not fit into the lock table of the source's server."""
    there, locks = look(session), need(session, plan).most(workers=False)
    return [] if there.fits(locks) else [Problem("locks", *_words(there, locks), allowable=False)]


def jobs(session: Session, plan: Plan, asked: int) -> int:
    """The number of jobs that pg_dump has room for; only a single one locks each table once."""
    return asked if look(session).fits(need(session, plan).most(workers=True)) else 1


def require(session: Session, locks: int) -> None:
    """Raise `TransferError` if there is no room for so many more locks."""
    there = look(session)
    if not there.fits(locks + SPARE):
        message, remedy = _words(there, locks + SPARE)
        raise TransferError(message, remedy=remedy)


def _words(there: Room, locks: int) -> tuple[str, str]:
    message = (
        f"this needs {locks} locks at a time; the server has {there.most} for all sessions, "
        f"which hold {there.used} now (max_locks_per_transaction is {there.per_transaction})"
    )
    wanted = there.wanted(locks)
    return message, (
        f"Run ALTER SYSTEM SET max_locks_per_transaction = {wanted}, and restart the server."
    )
