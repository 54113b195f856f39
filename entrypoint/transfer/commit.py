"""Whether a commit happened: known by its answer, found out on another connection, or unknown."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import psycopg

from ..errors import EntrypointError, Terminated, TransferError
from ..operator.server import Server
from ..postgres.session import Session

WAIT_S: Final = 30.0
"""Seconds to find it out: a server that crashed has recovered by then, or it takes long."""

EVERY_S: Final = 0.1

Look = Callable[[Session], bool]
"""Whether what a transaction did is there."""


class Backend(NamedTuple):
    """The server's end of a session."""

    pid: int
    started: str


class UnknownError(TransferError):
    """Nobody knows whether it was committed."""


@dataclass
class Commit:
    """One commit, for who must say afterwards whether it happened."""

    done: bool | None = False
    """None where nobody knows."""

    def run(self, session: Session, server: Server, happened: Look) -> None:
        """Commit the session's transaction.

        Whatever interrupts that, it is found out whether it was committed; then this returns, also
        after a signal, which `signals.check` still reports. Raises what interrupted it, if nothing
        was committed, and `UnknownError`, or `Terminated`, if nobody knows. Blocks for `WAIT_S`
        seconds at most after an interruption.
        """
        backend = of(session)
        try:
            session.connection.execute("commit")
            self.done = True
        except (psycopg.Error, Terminated) as error:
            session.close()
            self.done = find_out(server, session.database, backend, happened)
            if self.done:
                return
            if self.done is None and not isinstance(error, Terminated):
                raise UnknownError(
                    "the connection was lost at the moment of the commit, and the server does not "
                    "say since whether it took place",
                    remedy="Wait for the server.",
                ) from None
            raise


@dataclass
class Commits:
    """Those of a move, in their order."""

    target: Commit = field(default_factory=Commit)
    """Of the target's server, where that is another one."""

    source: Commit = field(default_factory=Commit)
    """The moment of the move."""

    @property
    def nothing(self) -> bool:
        """Whether it is known that neither was done."""
        return self.target.done is False and self.source.done is False


def of(session: Session) -> Backend:
    """The session's own. Raises `psycopg.Error`."""
    [(pid, started)] = session.rows("transfer/own_backend")
    return Backend(pid, started)


def find_out(server: Server, database: str, backend: Backend, happened: Look) -> bool | None:
    """Whether it did, when the session of the transaction has ended; None where nobody knows."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            with closing(server.session(database)) as session:
                while session.rows("transfer/end_backend", backend):
                    if time.monotonic() > deadline:
                        return None
                    time.sleep(EVERY_S)
                return happened(session)
        except (EntrypointError, psycopg.Error):
            time.sleep(EVERY_S)
    return None


def schemas(names: list[str]) -> Look:
    """Whether any of these schemas is there."""
    return _there("select from pg_catalog.pg_namespace where nspname = any (%s::name[])", names)


def database(name: str) -> Look:
    """Whether there is a database of this name."""
    return _there("select from pg_catalog.pg_database where datname = %s", name)


def _there(query: str, value: object) -> Look:
    return lambda session: session.connection.execute(query.encode(), [value]).rowcount > 0
