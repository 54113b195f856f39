"""The server's table of locks, which all its clients share: what a transfer may take of it.

A lock lasts until the end of its transaction. So whatever may be done in several transactions is
done in batches, and what must be one, which is to keep writers away and to put the target into its
place, is compared with the room that there is before anything is locked.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from ..errors import TransferError
from ..postgres.session import Session, translated
from .obstacle import Problem
from .plan import Plan

BATCH: Final = 100
"""Objects that one transaction makes, changes or drops: one table may be twenty locks."""

SHARE: Final = 1.4
"""Locks that may be held, by those that the settings ask for. PostgreSQL 14 to 18 have memory for
1.55 times as many at the least, and the rest is for everybody else."""

MARGIN: Final = 1.25
"""What a remedy asks for, by what is missing now: others may hold more when the server is back."""

SPARE: Final = 400
"""Locks on catalogs, of our other sessions, and of a batch."""

_SEQUENCES_AT_ONCE: Final = 180000
"""Since this version of the server pg_dump locks no sequences, each until it ends."""

T = TypeVar("T")


class Room(NamedTuple):
    """A server's table of locks."""

    per_transaction: int
    """max_locks_per_transaction"""

    transactions: int
    """That it is multiplied by."""

    used: int
    """Locks that others hold now."""

    @property
    def most(self) -> int:
        """Locks that all may hold together while a transfer is under way."""
        return int(self.per_transaction * self.transactions * SHARE)

    def fits(self, locks: int) -> bool:
        """Whether there is room for so many more."""
        return self.used + locks <= self.most

    def wanted(self, locks: int) -> int:
        """The max_locks_per_transaction with which there is, whoever else is busy then."""
        return math.ceil((self.used + locks) * MARGIN / self.transactions / SHARE)


class Need(NamedTuple):
    """Locks that a transfer holds at a time, at the most."""

    tables: int
    """Ours on each table that moves."""

    dump: int
    """Those of pg_dump's first session."""

    workers: int
    """Those of its workers, where it has any: the tables once more."""

    swap: int
    """On all that goes into quarantine."""

    def most(self, *, workers: bool) -> int:
        """In its worst moment."""
        dump = self.tables + self.dump + (self.workers if workers else 0)
        return max(dump, self.swap) + SPARE


def batches(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """The items in their order, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def need(session: Session, plan: Plan) -> Need:
    """What a plan needs in the session's server."""
    left = {each.oid for each in plan.not_copied}
    dumped = [each for each in plan.source.relations.values() if each.oid not in left]
    tables = sum(each.kind in "rp" for each in dumped)
    sequences = sum(each.kind == "S" for each in dumped)
    if session.server_version >= _SEQUENCES_AT_ONCE:
        sequences = 0
    ours = sum(each.kind in "rp" for each in plan.relations)
    return Need(ours, tables + sequences, tables, len(plan.relations) + len(plan.own))


def look(session: Session) -> Room:
    """The table of the session's server. Raises `RefusedError` and `UnreachableError`."""
    with translated("looking at the server's locks", remedy="Start again."):
        [row] = session.rows("transfer/lock_table")
    return Room(*row)


def problems(session: Session, plan: Plan) -> list[Problem]:
    """What does not fit into the table of the source's server."""
    there, locks = look(session), need(session, plan).most(workers=False)
    return [] if there.fits(locks) else [Problem("locks", *_words(there, locks), allowable=False)]


def jobs(session: Session, plan: Plan, asked: int) -> int:
    """With how many jobs pg_dump has room: one of them does not lock the tables once more."""
    return asked if look(session).fits(need(session, plan).most(workers=True)) else 1


def require(session: Session, locks: int) -> None:
    """Raise `TransferError` where there is no room for so many more."""
    there = look(session)
    if not there.fits(locks + SPARE):
        message, remedy = _words(there, locks + SPARE)
        raise TransferError(message, remedy=remedy)


def _words(there: Room, locks: int) -> tuple[str, str]:
    message = (
        f"this needs {locks} locks at a time; of {there.most} that the server has for all, "
        f"{there.used} are in use (max_locks_per_transaction is {there.per_transaction})"
    )
    wanted = there.wanted(locks)
    return message, (
        f"Run ALTER SYSTEM SET max_locks_per_transaction = {wanted}, and restart the server."
    )
