"""Whether a commit took place, even if the connection is lost before the server answers."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

import psycopg

from ..errors import EntrypointError, Terminated, TransferError
from ..operator.server import Server
from ..postgres.session import Session

WAIT_S: Final = 30.0  # seconds to find out; by then a crashed server has usually recovered
EVERY_S: Final = 0.1
SCHEMAS: Final = "select from pg_catalog.pg_namespace where nspname = any (%s::name[])"
DATABASE: Final = "select from pg_catalog.pg_database where datname = %s"
Look = Callable[[Session], bool]  # whether the effect of a transaction is there


class UnknownError(TransferError):
    """Nobody knows whether the server committed."""


@dataclass
class Commit:
    """One commit, and whether it took place."""

    done: bool | None = False  # None if nobody knows

    def run(self, session: Session, server: Server, happened: Look) -> None:
        """Commit the session's transaction.

        After an interruption, close the session and find out for at most `WAIT_S` seconds whether
        the server committed. If it did, return, even after a signal, which `signals.check` still
        reports. Otherwise raise the interruption, or, if nobody knows, `UnknownError` or
        `Terminated`.
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
                    "the connection was lost during the commit, and the server does not answer "
                    "whether the commit took place",
                    remedy="Wait for the server.",
                ) from None
            raise


@dataclass
class Commits:
    """The commits of a move, in their order."""

    target: Commit = field(default_factory=Commit)  # on the target's server, if that is another one
    source: Commit = field(default_factory=Commit)  # the moment of the move


def of(session: Session) -> tuple[int, str]:
    """The PID and the start of the session's server process. Raises `psycopg.Error`."""
    [(pid, started, _, _)] = session.rows("transfer/own_backend")
    return pid, started


def find_out(
    server: Server, database: str, backend: tuple[int, str], happened: Look
) -> bool | None:
    """End ``backend``, then ask ``happened``; None if no answer comes within `WAIT_S` seconds."""
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


def there(query: str, value: object) -> Look:
    """Look whether a query, such as `SCHEMAS`, finds a row."""
    return lambda session: session.connection.execute(query.encode(), [value]).rowcount > 0
