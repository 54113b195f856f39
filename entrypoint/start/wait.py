"""Step 2: wait until the server accepts connections and writes."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ..config.conninfo import Conninfo
from ..errors import RefusedError, UnreachableError
from ..health import progress
from ..postgres.cause import Cause, ConnectError, Kind
from ..postgres.opening import ATTEMPT_TIMEOUT_S, SHORTEST_TIMEOUT_S
from ..postgres.session import Session
from ..retry import Backoff, Wait

Connect = Callable[[Conninfo, float], Session]  # within these seconds; raises `ConnectError`

Ask = Callable[[float], Cause | bool]
"""Asks in another way, within the given seconds, about a silent database: a cause if it is missing,
else whether a server or pooler responded."""

POOLER_S: Final = 35.0
"""Seconds of an attempt if a pooler is silent. PgBouncer holds a login until its own next attempt,
by default 15 s after a failed one, and holds our question about the cause as long."""


def until_answered(
    conninfo: Conninfo, connect: Connect, *, deadline: float, ask: Ask | None = None
) -> Session | Cause:
    """Connect once the server accepts us; return a cause if it does not know the database.

    The cause is `Kind.MISSING`, or `Kind.UNCLEAR` behind a pooler that hides it. If nobody
    responds and there is time left, calls ``ask``. Blocks until ``deadline``, an instant of
    ``time.monotonic``; makes one attempt even after it. Raises `RefusedError` at once if waiting
    cannot help, and `UnreachableError` at the deadline.
    """
    return _until(conninfo, connect, deadline, _Manner((Kind.MISSING, Kind.UNCLEAR), ask))


def until_ready(
    conninfo: Conninfo, connect: Connect, *, deadline: float, attempt_s: float = ATTEMPT_TIMEOUT_S
) -> Session:
    """Connect as `until_answered` does, but wait for a missing database as well."""
    session = _until(conninfo, connect, deadline, _Manner(attempt_s=attempt_s))
    assert isinstance(session, Session)  # noqa: S101  without `stops` only a session ends the wait
    return session


class _Manner(NamedTuple):
    stops: tuple[Kind, ...] = ()  # causes that end the wait
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
                user, name = conninfo.user, conninfo.database
                what = f"PostgreSQL at {where} refused role {user!r} for database {name!r}"
                raise RefusedError(f"{what}: {cause.text}", remedy=remedy)
            # A silent attempt takes its whole timeout.
            if not wait.pause(cause.text, least_s=SHORTEST_TIMEOUT_S if cause.silent else 0.0):
                late = f"PostgreSQL at {where} was not ready after {wait.waited_s:.1f} s"
                message, attempts = f"{late}: {cause.text}", wait.backoff.attempts
                raise UnreachableError(message, remedy=remedy, attempts=attempts)
    finally:
        progress.detail("")  # the wait is over, the step may go on


def _attempt(
    conninfo: Conninfo, connect: Connect, deadline: float, how: _Manner, *, again: bool = True
) -> tuple[Session | Cause, _Manner]:
    """Make one attempt; return its outcome, and how to go on."""
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
