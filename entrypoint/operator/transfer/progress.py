"""How far a transfer is: phases with their seconds, and an event every 10 s."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ... import log

EVERY_S: Final = 10.0
"""Seconds between two events."""


@dataclass
class Progress:
    """Phases so far and their durations in seconds."""

    total_bytes: int = 0
    durations: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    done: int = 0
    done_bytes: int = 0
    _told: float = 0.0

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """One phase; its name is known to who asks when it fails."""
        self.phase, self.done, self.done_bytes = phase, 0, 0
        started = self._told = time.monotonic()
        log.event("info", "transfer.phase_started", phase=phase)
        yield
        self.durations[phase] = round(time.monotonic() - started, 3)
        log.event("info", "transfer.phase_finished", phase=phase, elapsed_s=self.durations[phase])

    def advance(self, size_bytes: int) -> None:
        """One table more."""
        self.done += 1
        self.done_bytes += size_bytes
        now = time.monotonic()
        if now - self._told >= EVERY_S:
            self._told = now
            log.event(
                "info",
                "transfer.progressed",
                phase=self.phase,
                tables=self.done,
                size_bytes=self.done_bytes,
                total_bytes=self.total_bytes,
            )
