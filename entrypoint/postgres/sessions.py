"""Server sessions by the name of who opened them: ours, and those of a child that we ended."""

import re
import socket
import time
from collections.abc import Collection
from typing import Final, NamedTuple

import psycopg

from ..errors import RefusedError
from .session import Session, translated

MAX_NAME: Final = 63
"""Characters of an application_name; PostgreSQL cuts what is longer."""

_COUNTS_SESSIONS_SINCE: Final = 140000
"""The first server version that counts the sessions of a database."""

_COUNTS_AT_ONCE_SINCE: Final = 150000
"""The first that counts a session before its client hears from it."""

COUNT_S: Final = 1.2
"""Seconds until what a session began with is counted: it reports once a second."""


def application_name(service: str | None, suffix: str = "") -> str:
    """``entrypoint/<service>/<host>`` and a suffix, in the ASCII that PostgreSQL keeps as it is.

    What must go for the length is the host's beginning: its end tells replicas apart.
    """
    head = f"entrypoint/{service or '-'}"[:30]
    room = MAX_NAME - len(head) - len(suffix) - 1
    return re.sub(r"[^!-~]", "?", f"{head}/{host()[-room:]}{suffix}")


def mark(name: str) -> str:
    """What tells a child's sessions from all others, at the end of its application_name."""
    return name.rpartition("/")[2]


def host() -> str:
    """This container's host name."""
    return socket.gethostname()


def end(session: Session, name: str, ports: Collection[int] = (), *, timeout_s: float = 5.0) -> int:
    """End this role's sessions of an application_name or from local ports, until they are gone.

    Killing a client does not stop its statement on the server, and a DDL that waits for a table
    there would still run and commit. Returns how many were ended; blocks up to ``timeout_s``
    seconds. Raises `UnreachableError` or `RefusedError`, also when one is still there at the end.
    """
    deadline = time.monotonic() + timeout_s
    ended: int = 0
    remedy = f"End the sessions with application_name {name!r} by pg_terminate_backend."
    with translated("ending the child's sessions", remedy=remedy):
        while True:
            # Sessions have the role that logged in, also where another one is set for all of them.
            with session.transaction(undone=True):
                session.connection.execute("set local role none")
                # A transaction keeps the list of sessions that it saw first.
                session.connection.execute("select pg_stat_clear_snapshot()")
                row = session.row("postgres/end_child", [name, list(ports)])
            there, signalled = row or (0, 0)
            ended = max(ended, signalled)
            if not there:
                return ended
            if time.monotonic() > deadline:
                raise psycopg.OperationalError
            time.sleep(0.02)


class There(NamedTuple):
    """The sessions of a database at one moment."""

    began: int
    """How many it had until then."""

    pids: frozenset[int]

    hidden: frozenset[int]
    """Those of another role, which may be workers that count as no session."""


def before(session: Session) -> There | None:
    """What `came` compares with. Blocks for a second where the server counts late, on 14.

    What began in that second would count as begun since: first of all, sessions of our own.
    """
    if session.server_version < _COUNTS_AT_ONCE_SINCE:
        time.sleep(COUNT_S)
    return there(session)


def there(session: Session) -> There | None:
    """How many sessions the database has had, and which it has; None where nobody may count them.

    The server's own processes do not count. Raises `UnreachableError`.
    """
    if session.server_version < _COUNTS_SESSIONS_SINCE:
        return None
    try:
        with translated("counting sessions", remedy="Start again."), session.transaction():
            session.connection.execute("select pg_stat_clear_snapshot()")
            row = session.row("postgres/sessions_here")
    except RefusedError:  # what a hardened server may have revoked
        return None
    began, pids, hidden = row or (None, [], [])
    return None if began is None else There(began, frozenset(pids), frozenset(hidden))


def came(session: Session, before: There) -> bool | None:
    """Whether anybody had a session since that is gone again; None where nobody can tell.

    Those that are there still are somebody else's, whoever else had one counts as the child.
    Blocks for about a second before it says no, because the server counts that late. Raises
    `UnreachableError`.
    """
    certain = True
    for wait_s in (0.0, COUNT_S):
        time.sleep(wait_s)
        now = there(session)
        if now is None or now.began < before.began:
            return None
        began = now.began - before.began - len(now.pids - before.pids)
        hidden = len(now.hidden - before.hidden)
        if began > hidden:
            return True
        certain = began <= 0
    return False if certain else None
