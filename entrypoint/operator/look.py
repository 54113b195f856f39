"""Looks at many databases at once, each in one read-only snapshot."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from typing import Final, NamedTuple, TypeVar

import psycopg

from .. import timelimit
from ..errors import RefusedError, UnreachableError
from ..postgres import ledger, objects, ownership, quarantine
from ..postgres.quarantine import Quarantine
from ..postgres.session import Session, translated
from ..postgres.sql import load_sql
from .server import MAX_SESSIONS, Server

_NOW: Final = """select to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""


class Look(NamedTuple):
    """What one database says of itself."""

    objects: list[objects.Object]
    found: ledger.Found
    invalid_indexes: list[str]
    table_owners: list[str]
    quarantines: list[Quarantine]
    public_may: dict[str, str]  # what PUBLIC may do here, each with the statement that revokes it


_Result = TypeVar("_Result")

_looking: set[Session] = set()  # sessions in use, each in a thread of its own


@contextmanager
def snapshot(session: Session) -> Iterator[Session]:
    """Open a transaction that sees one moment, cannot write, and calls nobody's functions."""
    with translated("beginning a read-only transaction", remedy="Start again."):
        session.connection.execute(load_sql("operator/look_begin"))
    yield session
    with translated("looking", remedy="Start again."):
        session.connection.execute("rollback")


def moment(session: Session) -> str:
    """When a snapshot began, by the server's clock. Raises `RefusedError`, `UnreachableError`."""
    with translated("reading the server's clock", remedy="Start again."):
        [(now,)] = session.connection.execute(_NOW.encode()).fetchall()
    return str(now)


def at(server: Server, database: str) -> Look:
    """Look at one database. Raises `RefusedError` and `UnreachableError`."""
    with closing(server.session(database)) as session, _known(session), snapshot(session):
        found = ledger.look(session)
        with translated("reading the catalogs of indexes and owners", remedy="Start again."):
            indexes, owners = session.row("operator/indexes_and_owners") or (None, None)
        exposed = ownership.exposed(session)
        strangers = objects.find(session, server.bookkeeping)
        return Look(
            strangers,
            found,
            indexes or [],
            owners or [],
            quarantine.find(session, sizes=True),
            exposed,
        )


@contextmanager
def _known(session: Session) -> Iterator[None]:
    _looking.add(session)
    try:
        yield
    finally:
        _looking.discard(session)


def at_each(
    names: Iterable[str], look: Callable[[str], _Result]
) -> dict[str, _Result | RefusedError | UnreachableError]:
    """Look at several databases, `MAX_SESSIONS` at once.

    A database that fails has its error as its result and spoils no other. On a signal this hangs up
    every session, because a frozen server would keep its thread waiting.
    """

    def guarded(name: str) -> _Result | RefusedError | UnreachableError:
        try:
            return look(name)
        except (RefusedError, UnreachableError) as error:
            return error

    names = list(names)
    with ThreadPoolExecutor(MAX_SESSIONS) as pool:
        looks = [pool.submit(guarded, name) for name in names]
        try:
            return dict(zip(names, [each.result() for each in looks], strict=True))
        except BaseException:
            for each in looks:
                each.cancel()
            while wait(looks, timeout=0.1).not_done:
                for session in _looking.copy():
                    with suppress(psycopg.Error):
                        timelimit.hang_up(session.connection.fileno())
            raise
