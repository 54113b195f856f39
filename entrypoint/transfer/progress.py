"""How far a transfer is: bars on a terminal, elsewhere an event every 10 s."""

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

BYTES: Final = ("dump", "restore", "compare")  # phases that handle table by table
EVERY_S: Final = 10.0  # seconds between two events


@dataclass
class Progress:
    """The phases so far, and their durations in seconds."""

    bars: Any = None  # a `rich.progress.Progress` on a terminal, otherwise None
    every_s: float = EVERY_S
    total_bytes: int = 0
    durations: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    done: int = 0
    done_bytes: int = 0
    commits: Commits = field(default_factory=Commits)
    moved: "Result | None" = None  # the result that the source's commit makes true
    answer: "Callable[[Result, dict[str, float]], Transferred] | None" = None  # of the result
    doing: str = ""  # what the tools work on, as far as they print it
    _bar: Any = None

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """Run one phase; after an error ``phase`` still has its name."""
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
        """Hide the bars, which would overwrite a question."""
        if self.bars is not None:
            self.bars.stop()
        yield
        if self.bars is not None:
            self.bars.start()

    def advance(self, size_bytes: int) -> None:
        """Count one more table."""
        self.done += 1
        self.done_bytes += size_bytes
        if self.bars is not None:
            self.bars.update(self._bar, advance=size_bytes, said=self._said())

    def at(self, what: str) -> None:
        """Show what the tools work on."""
        self.doing = what
        if self.bars is not None:
            self.bars.update(self._bar, said=self._said())

    def _said(self) -> str:
        """The text beside a bar."""
        if self.phase not in BYTES:
            return self.doing
        bytes_ = f"{self.done_bytes / 1e6:,.1f} of {self.total_bytes / 1e6:,.1f} MB"
        return f"{bytes_}  {self.doing}".rstrip()

    def _tell(self, over: Event) -> None:
        """Log also while nothing advances, because ``doing`` then names what hangs."""
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
    """Yield a progress, with a bar for each phase if stderr is a terminal with a cursor."""
    if not os.isatty(2) or Environment.of_container().get("TERM") in ("dumb", "unknown"):
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text
    from rich.theme import Theme

    # rich's yellow is hard to read on a light terminal.
    console = Console(stderr=True, theme=Theme({"progress.elapsed": "none"}))

    def above(line: str) -> None:
        console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=True)

    said = TextColumn("{task.fields[said]}", markup=False)
    columns = TextColumn("{task.description:<8}"), BarColumn(), TimeElapsedColumn(), said
    with Bars(*columns, console=console, transient=False) as bars, log.through(above):
        yield Progress(bars)
