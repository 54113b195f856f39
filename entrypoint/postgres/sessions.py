"""Server sessions by application_name: this program's, and those of a child that it ended."""

import time
from collections.abc import Collection
from typing import Final, NamedTuple

import psycopg

from ..errors import RefusedError
from .session import Session, translated

_COUNTS_SESSIONS_SINCE: Final = 140000  # the first server version that counts a database's sessions
_COUNTS_AT_ONCE_SINCE: Final = 150000  # from here on before the client hears from its session
COUNT_S: Final = 1.2  # seconds until the server has counted a session: it does so once a second


def mark(name: str) -> str:
    """The end of a child's application_name, which tells its sessions from all others."""
    return name.rpartition("/")[2]


def end(session: Session, name: str, ports: Collection[int] = (), *, timeout_s: float = 5.0) -> int:
    """End this role's sessions with an application_name or from local ports; wait for their end.

    A client's death does not stop its statement on the server: DDL that waits for a table would
    still run and commit. Returns how many sessions it ended; blocks for up to ``timeout_s``
    seconds. Raises `UnreachableError` or `RefusedError`, also if a session is left.
    """
    deadline = time.monotonic() + timeout_s
    ended: int = 0
    remedy = f"End the sessions with application_name {name!r} by pg_terminate_backend."
    with translated("ending the child's sessions", remedy=remedy):
        while True:
            # The server knows sessions by their login role, also where ALTER ROLE ... SET sets
            # another.
            with session.transaction(undone=True):
                session.connection.execute("set local role none")
                # A transaction keeps its first view of pg_stat_activity.
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

    began: int  # sessions that the database has had until then
    pids: frozenset[int]
    hidden: frozenset[int]  # other roles' sessions, perhaps workers that the server does not count


def before(session: Session) -> There | None:
    """Take `came`'s first count; PostgreSQL 14 counts our own session a second late, so wait."""
    if session.server_version < _COUNTS_AT_ONCE_SINCE:
        time.sleep(COUNT_S)
    return there(session)


def there(session: Session) -> There | None:
    """Count the sessions that the database has had, and list its present ones.

    None if our role may not count them. Background processes do not count. Raises
    `UnreachableError`.
    """
    if session.server_version < _COUNTS_SESSIONS_SINCE:
        return None
    try:
        with translated("counting sessions", remedy="Start again."), session.transaction():
            session.connection.execute("select pg_stat_clear_snapshot()")
            row = session.row("postgres/sessions_here")
    except RefusedError:  # a hardened server may have revoked functions
        return None
    began, pids, hidden = row or (None, [], [])
    return None if began is None else There(began, frozenset(pids), frozenset(hidden))


def came(session: Session, before: There) -> bool | None:
    """Whether a session has come and gone again since ``before``; None if nobody can tell.

    A session that is still there belongs to somebody else; any other counts as the child's. Blocks
    for about a second before it says no, because the server counts late. Raises `UnreachableError`.
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
