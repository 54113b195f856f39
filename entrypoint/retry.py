"""The waiting loop: the next attempt's time, and reports to the log and to `entrypoint health`."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from . import log
from .health import progress

INITIAL_S = 0.1  # seconds of the first delay: a server that restarts is often back at once
CAP_S = 2.0  # seconds of the longest delay: a server that is back waits no longer
REMIND_S = 10.0  # seconds between two log lines about the same wait


@dataclass
class Backoff:
    """Exponential delays with jitter in their upper half, never past the deadline.

    ``deadline`` and ``now`` are instants of one monotonic clock, in seconds. Jitter keeps replicas
    that start together from retrying together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    deadline: float
    initial_s: float = INITIAL_S
    cap_s: float = CAP_S
    jitter: Callable[[], float] = random.random
    attempts: int = 0

    def next_delay(self, now: float, least_s: float = 0.0) -> float | None:
        """Seconds to sleep, or None if fewer than ``least_s`` would be left for the attempt."""
        remaining = self.deadline - now
        if remaining <= 0:
            return None
        # 2.0**64 is far past any cap; 2.0**1024 raises OverflowError.
        ceiling = min(self.cap_s, self.initial_s * 2.0 ** min(self.attempts, 64))
        self.attempts += 1
        delay = min(remaining, ceiling * (0.5 + 0.5 * self.jitter()))
        return delay if delay + least_s <= remaining else None


@dataclass
class Reminder:
    """Answers yes to the first question, then at most every ``every_s`` seconds."""

    every_s: float = REMIND_S
    last: float | None = None

    def due(self, now: float, *, news: bool = False) -> bool:
        """Whether to report now; always with ``news``. A yes starts the interval again."""
        if not news and self.last is not None and now - self.last < self.every_s:
            return False
        self.last = now
        return True


class Wait:
    """One wait: sleeps between attempts, and tells the log and `entrypoint health` why.

    Logs ``event`` with ``fields`` at once and then every `REMIND_S` seconds; `entrypoint health`
    shows ``about`` before the cause.
    """

    def __init__(
        self,
        event: str,
        backoff: Backoff,
        *,
        level: str = "warning",
        about: str = "",
        **fields: object,
    ) -> None:
        self.started = time.monotonic()
        self.backoff = backoff
        self._event, self._level, self._about, self._fields = event, level, about, fields
        self._reminder = Reminder()

    @property
    def waited_s(self) -> float:
        """Seconds since the wait began."""
        return round(time.monotonic() - self.started, 2)

    def pause(self, cause: str, *, least_s: float = 0.0) -> bool:
        """Report why an attempt failed and sleep; False if less than ``least_s`` would be left."""
        delay = self.backoff.next_delay(time.monotonic(), least_s)
        if delay is None:
            return False
        attempts = self.backoff.attempts
        self.tell(cause, cause=cause, attempts=attempts, wait_for_s=round(delay, 2))
        time.sleep(delay)
        return True

    def tell(
        self, detail: str, *, since_s: float | None = None, news: bool = False, **fields: object
    ) -> bool:
        """Report what the wait is for, since ``since_s`` seconds; return whether it was logged."""
        progress.detail(f"{self._about}{detail}", since_s)
        due = self._reminder.due(time.monotonic(), news=news)
        if due:
            timeout_s = round(self.backoff.deadline - self.started, 1)
            waited = {"waited_s": self.waited_s, "timeout_s": timeout_s}
            log.event(self._level, self._event, **self._fields, **fields, **waited)
        return due
