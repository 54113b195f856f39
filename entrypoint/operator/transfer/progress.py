"""How far a transfer is: a bar on a terminal, otherwise an event every 10 s."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from ... import log

EVERY_S: Final = 10.0
"""Seconds between two events."""


@dataclass
class Progress:
    """Phases so far and their durations in seconds."""

    bars: Any = None
    """A `rich.progress.Progress` that is shown, on a terminal."""

    every_s: float = EVERY_S
    total_bytes: int = 0
    durations: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    done: int = 0
    done_bytes: int = 0
    _told: float = 0.0
    _bar: Any = None

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """One phase; its name is known to who asks when it fails."""
        self.phase, self.done, self.done_bytes = phase, 0, 0
        started = self._told = time.monotonic()
        log.event("info", "transfer.phase_started", phase=phase)
        if self.bars is not None:
            self._bar = self.bars.add_task(phase, total=self.total_bytes or None, table="")
        yield
        if self.bars is not None:
            whole = self.total_bytes or 1
            self.bars.update(self._bar, total=whole, completed=whole, table="")
        self.durations[phase] = round(time.monotonic() - started, 3)
        log.event("info", "transfer.phase_finished", phase=phase, elapsed_s=self.durations[phase])

    def advance(self, size_bytes: int, table: str = "") -> None:
        """One table more."""
        self.done += 1
        self.done_bytes += size_bytes
        if self.bars is not None:
            self.bars.update(self._bar, advance=size_bytes, table=table)
        now = time.monotonic()
        if now - self._told >= self.every_s:
            self._told = now
            log.event(
                "info",
                "transfer.progressed",
                phase=self.phase,
                tables=self.done,
                size_bytes=self.done_bytes,
                total_bytes=self.total_bytes,
            )


@contextmanager
def shown(*, terminal: bool) -> Iterator[Progress]:
    """Progress with a bar for each phase on stderr, where that is a terminal."""
    if not terminal:
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[table]}", markup=False),
    )
    with Bars(*columns, console=Console(stderr=True), transient=False) as bars:
        yield Progress(bars)
