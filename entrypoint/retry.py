"""When to try again, and when to say that we still try. Pure: the clock is an argument."""

import random
from collections.abc import Callable

INITIAL_S = 0.1
"""The first delay, in seconds: a server that restarts is often back at once."""

CAP_S = 2.0
"""The longest delay, in seconds: what a server that came back is kept waiting at most."""

REMIND_S = 10.0
"""Seconds between two log lines about the same wait."""


class Backoff:
    """Exponential delays with full jitter in their upper half, never past the deadline.

    ``deadline`` and ``now`` are instants of the same monotonic clock, in seconds. Jitter keeps
    replicas that were started together from knocking together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    def __init__(
        self,
        deadline: float,
        *,
        initial_s: float = INITIAL_S,
        cap_s: float = CAP_S,
        jitter: Callable[[], float] = random.random,
        attempts: int = 0,
    ) -> None:
        self.deadline = deadline
        self.initial_s = initial_s
        self.cap_s = cap_s
        self.jitter = jitter
        self.attempts = attempts

    def next_delay(self, now: float) -> float | None:
        """Seconds to sleep before the next attempt, or None when the deadline has passed."""
        remaining = self.deadline - now
        if remaining <= 0:
            return None
        # 2.0**64 is far past any cap, and past 2.0**1023 Python raises OverflowError.
        ceiling = min(self.cap_s, self.initial_s * 2.0 ** min(self.attempts, 64))
        self.attempts += 1
        return min(remaining, ceiling * (0.5 + 0.5 * self.jitter()))


class Reminder:
    """Says yes to the first question at once, then at most every ``every_s`` seconds."""

    def __init__(self, every_s: float = REMIND_S) -> None:
        self.every_s = every_s
        self.last: float | None = None

    def due(self, now: float, *, news: bool = False) -> bool:
        """Whether to speak now, news at once; a yes counts as spoken."""
        if not news and self.last is not None and now - self.last < self.every_s:
            return False
        self.last = now
        return True
