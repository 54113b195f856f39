"""Step 2: wait until the server accepts connections and writes."""

import time
from collections.abc import Callable

from .. import log, phase
from ..backoff import Backoff, Reminder
from ..errors import RefusedError, UnreachableError
from ..postgres.cause import Cause, ConnectError, Kind
from ..postgres.conninfo import Conninfo
from ..postgres.session import ATTEMPT_TIMEOUT_S, SHORTEST_TIMEOUT_S, Session

Connect = Callable[[Conninfo, float], Session]
"""Opens a session within so many seconds, or raises `ConnectError`."""


def until_answered(conninfo: Conninfo, connect: Connect, *, deadline: float) -> Session | Cause:
    """Connect as soon as the server lets us, or learn that it does not know the database.

    Then the cause is returned: `Kind.MISSING`, or `Kind.UNCLEAR` behind a pooler that does not say.
    ``deadline`` is an instant of ``time.monotonic``; one attempt is made even if it has passed.
    Raises `RefusedError` at once for what waiting does not heal, and `UnreachableError` at the
    deadline. Blocks until then.
    """
    return _until(conninfo, connect, deadline, stops=(Kind.MISSING, Kind.UNCLEAR))


def until_ready(conninfo: Conninfo, connect: Connect, *, deadline: float) -> Session:
    """The same for a database that is there or about to be: its absence is waited out too."""
    session = _until(conninfo, connect, deadline, stops=())
    assert isinstance(session, Session)  # noqa: S101  nothing but a session ends it
    return session


def _until(
    conninfo: Conninfo, connect: Connect, deadline: float, stops: tuple[Kind, ...]
) -> Session | Cause:
    try:
        return _attempts(conninfo, connect, deadline, stops)
    finally:
        phase.detail("")  # what it was waited for; the step may go on to other things


def _attempts(
    conninfo: Conninfo, connect: Connect, deadline: float, stops: tuple[Kind, ...]
) -> Session | Cause:
    started = time.monotonic()
    backoff, reminder = Backoff(deadline), Reminder()
    where = conninfo.where()
    passed = False
    while True:
        try:
            return connect(conninfo, min(ATTEMPT_TIMEOUT_S, deadline - time.monotonic()))
        except ConnectError as error:
            cause = error.cause
        if cause.kind in stops:
            return cause
        if cause.kind is Kind.PASSED and not passed:
            passed = True
            continue
        passed = False
        remedy = cause.remedy.format(url=conninfo.variable)
        if cause.kind is Kind.REFUSED:
            raise RefusedError(
                f"PostgreSQL at {where} refused role {conninfo.user!r} for database "
                f"{conninfo.database!r}: {cause.text}",
                remedy=remedy,
            )
        now = time.monotonic()
        delay = backoff.next_delay(now)
        # An attempt that nobody answers takes its whole timeout: none is begun that would end late.
        least_s = SHORTEST_TIMEOUT_S if cause.silent else 0.0
        if delay is None or now + delay + least_s > deadline:
            raise UnreachableError(
                f"PostgreSQL at {where} was not ready after {now - started:.1f} s: {cause.text}",
                remedy=remedy,
                attempts=backoff.attempts,
            )
        phase.detail(cause.text)
        if reminder.due(now):
            log.event(
                "warning",
                "wait.retry_scheduled",
                server=where,
                cause=cause.text,
                attempts=backoff.attempts,
                wait_for_s=round(delay, 2),
                waited_s=round(now - started, 2),
                timeout_s=round(deadline - started, 1),
            )
        time.sleep(delay)
