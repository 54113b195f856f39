"""How far a transfer is: bars on a terminal, otherwise events, one every 10 s."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

from .. import log
from ..config.environment import Environment
from ..process import signals
from .commit import Commits

if TYPE_CHECKING:
    from ..operator.report import Transferred
    from .move import Result

BYTES: Final = ("dump", "restore", "compare")
"""Phases in which tables are done one by one."""

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
    commits: Commits = field(default_factory=Commits)
    moved: "Result | None" = None
    """What is moved by the last of them."""

    answer: "Callable[[Result, dict[str, float]], Transferred] | None" = None
    """Makes the answer of it, and of the durations."""

    doing: str = ""
    """What is under way, where that is known."""

    _bar: Any = None

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """One phase; its name is known to who asks when it fails."""
        self.phase, self.done, self.done_bytes, self.doing = phase, 0, 0, ""
        started = time.monotonic()
        if self.bars is None:
            log.event("info", "transfer.phase_started", phase=phase)
        else:
            total = self.total_bytes if phase in BYTES else None
            self._bar = self.bars.add_task(phase, total=total, said="")
        over = Event()
        telling = Thread(target=self._tell, args=(over,))
        try:
            with signals.late():
                telling.start()
            yield
        finally:
            over.set()
            if telling.ident:
                telling.join()
        took = self.durations[phase] = round(time.monotonic() - started, 3)
        if self.bars is None:
            log.event("info", "transfer.phase_finished", phase=phase, elapsed_s=took)
        else:
            whole = self.total_bytes or 1
            self.bars.update(self._bar, total=whole, completed=whole, said="")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Without the bars, which would write over what somebody is asked."""
        if self.bars is not None:
            self.bars.stop()
        yield
        if self.bars is not None:
            self.bars.start()

    def advance(self, size_bytes: int) -> None:
        """One table more is done."""
        self.done += 1
        self.done_bytes += size_bytes
        if self.bars is not None:
            self.bars.update(self._bar, advance=size_bytes, said=self._said())

    def at(self, what: str) -> None:
        """What is under way now."""
        self.doing = what
        if self.bars is not None:
            self.bars.update(self._bar, said=self._said())

    def _said(self) -> str:
        """What stands beside a bar."""
        if self.phase not in BYTES:
            return self.doing
        bytes_ = f"{self.done_bytes / 1e6:,.1f} of {self.total_bytes / 1e6:,.1f} MB"
        return f"{bytes_}  {self.doing}".rstrip()

    def _tell(self, over: Event) -> None:
        """Also while nothing is done: then it is known what does not come to an end."""
        while self.bars is None and not over.wait(self.every_s):
            fields = {"doing": self.doing} if self.doing else {}
            log.event(
                "info",
                "transfer.progressed",
                phase=self.phase,
                tables=self.done,
                size_bytes=self.done_bytes,
                total_bytes=self.total_bytes,
                **fields,
            )


@contextmanager
def shown() -> Iterator[Progress]:
    """Progress with a bar for each phase, where stderr is a terminal on which something can move.

    What is logged meanwhile stands above the bars.
    """
    if not os.isatty(2) or Environment.of_container().get("TERM") in ("dumb", "unknown"):
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text
    from rich.theme import Theme

    # Its own yellow cannot be read on a light terminal.
    console = Console(stderr=True, theme=Theme({"progress.elapsed": "none"}))

    def above(line: str) -> None:
        console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=True)

    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}", markup=False),
    )
    with Bars(*columns, console=console, transient=False) as bars, log.through(above):
        yield Progress(bars)
