"""Step 2: wait until the server accepts connections and writes."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ..config.conninfo import Conninfo
from ..errors import RefusedError, UnreachableError
from ..health import progress
from ..postgres.cause import Cause, ConnectError, Kind
from ..postgres.session import ATTEMPT_TIMEOUT_S, SHORTEST_TIMEOUT_S, Session
from ..retry import Backoff, Wait

Connect = Callable[[Conninfo, float], Session]
"""Opens a session within so many seconds, or raises `ConnectError`."""

Ask = Callable[[float], Cause | bool]
"""Asks, within so many seconds, by another way about a database that nobody answers for: the cause
when it is missing; else whether somebody is there."""

POOLER_S: Final = 35.0
"""Seconds for an attempt where somebody is there who says nothing yet. PgBouncer keeps a login
waiting until its own next try, by default 15 s after one that failed, and so does it keep the one
that asks why."""


def until_answered(
    conninfo: Conninfo, connect: Connect, *, deadline: float, ask: Ask | None = None
) -> Session | Cause:
    """Connect as soon as the server lets us, or learn that it does not know the database.

    Then the cause is returned: `Kind.MISSING`, or `Kind.UNCLEAR` behind a pooler that does not say.
    Where nobody answers, ``ask`` is asked, while there is time for it.
    ``deadline`` is an instant of ``time.monotonic``; one attempt is made even if it has passed.
    Raises `RefusedError` at once for what waiting does not heal, and `UnreachableError` at the
    deadline. Blocks until then.
    """
    return _until(conninfo, connect, deadline, _Manner((Kind.MISSING, Kind.UNCLEAR), ask))


def until_ready(
    conninfo: Conninfo,
    connect: Connect,
    *,
    deadline: float,
    attempt_s: float = ATTEMPT_TIMEOUT_S,
) -> Session:
    """The same for a database that is there or about to be: its absence is waited out too."""
    session = _until(conninfo, connect, deadline, _Manner(attempt_s=attempt_s))
    assert isinstance(session, Session)  # noqa: S101  nothing but a session ends it
    return session


class _Manner(NamedTuple):
    """How a session is waited for."""

    stops: tuple[Kind, ...] = ()
    """Causes that are answers, too."""

    ask: Ask | None = None
    attempt_s: float = ATTEMPT_TIMEOUT_S


def _until(conninfo: Conninfo, connect: Connect, deadline: float, how: _Manner) -> Session | Cause:
    where = conninfo.where()
    wait = Wait("wait.retry_scheduled", Backoff(deadline), server=where)
    try:
        while True:
            cause, how = _attempt(conninfo, connect, deadline, how)
            if isinstance(cause, Session) or cause.kind in how.stops:
                return cause
            remedy = cause.remedy.format(url=conninfo.source)
            if cause.kind is Kind.REFUSED:
                raise RefusedError(
                    f"PostgreSQL at {where} refused role {conninfo.user!r} for database "
                    f"{conninfo.database!r}: {cause.text}",
                    remedy=remedy,
                )
            # An attempt that nobody answers takes its whole timeout.
            if not wait.pause(cause.text, least_s=SHORTEST_TIMEOUT_S if cause.silent else 0.0):
                raise UnreachableError(
                    f"PostgreSQL at {where} was not ready after {wait.waited_s:.1f} s: "
                    f"{cause.text}",
                    remedy=remedy,
                    attempts=wait.backoff.attempts,
                )
    finally:
        progress.detail("")  # the step may go on to other things


def _attempt(
    conninfo: Conninfo, connect: Connect, deadline: float, how: _Manner, *, again: bool = True
) -> tuple[Session | Cause, _Manner]:
    """What one attempt finds, and how to go on."""
    try:
        return connect(conninfo, min(how.attempt_s, deadline - time.monotonic())), how
    except ConnectError as error:
        cause = error.cause
    if cause.kind is Kind.PASSED and again:
        return _attempt(conninfo, connect, deadline, how, again=False)
    if how.ask and cause.silent and deadline - time.monotonic() > 2 * ATTEMPT_TIMEOUT_S:
        answer = how.ask(ATTEMPT_TIMEOUT_S)
        if isinstance(answer, Cause):
            return answer, how
        if answer:
            how = how._replace(attempt_s=POOLER_S)
    return cause, how
