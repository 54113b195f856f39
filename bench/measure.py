"""Wall time of whole processes, interleaved, and the ratios of neighbours."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess  # noqa: TID251  the monopoly holds in the program
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

TIMEOUT_S = 600


class BenchError(Exception):
    """What was to be measured does not do what the row says."""


class SkippedError(Exception):
    """Something that a row needs is not here; the text says what."""


def nothing() -> None:
    """The state needs no bringing about."""


@dataclass(frozen=True)
class Command:
    """A process to measure; `before` brings about the state that it starts from, uncounted."""

    argv: Sequence[str | Path]
    environ: Mapping[str, str]
    directory: Path
    before: Callable[[], object] = nothing

    def output(self) -> str:
        """Run it once and return what it wrote to both descriptors. Raises `BenchError`."""
        self.before()
        with tempfile.TemporaryFile() as file:  # a pipe would have to be drained meanwhile
            code = self._run(file.fileno())
            file.seek(0)
            said = file.read().decode(errors="replace")
        if code != 0:
            raise BenchError(f"{self.argv} exits {code}:\n{said[-3000:]}")
        return said

    def seconds(self) -> float:
        """Run it once, its output discarded: from fork to exit. Raises `BenchError`."""
        self.before()
        began = time.monotonic()
        code = self._run(subprocess.DEVNULL)
        took = time.monotonic() - began
        if code != 0:
            raise BenchError(f"{self.argv} exits {code}")
        return took

    def cpu_s(self, count: int) -> float:
        """Run so many at once: their seconds of CPU together. Raises `BenchError`."""
        before = os.times()
        started = [
            subprocess.Popen(  # noqa: S603  argument lists of the benchmark's own
                self.argv,
                cwd=self.directory,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(count)
        ]
        codes = {process.wait(TIMEOUT_S) for process in started}
        if codes != {0}:
            raise BenchError(f"{count} of {self.argv} exit {codes}")
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])

    def _run(self, out: int) -> int:
        process = subprocess.Popen(  # noqa: S603  argument lists of the benchmark's own
            self.argv,
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            with _alarm():  # wait(timeout) would poll
                return process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


def interleaved(commands: Sequence[Command], runs: int) -> list[list[float]]:
    """Seconds of each command: one run each to warm up, then A B A B ..., `runs` of each."""
    for command in commands:
        command.output()
    rounds = [[command.seconds() for command in commands] for _ in range(runs)]
    return [list(column) for column in zip(*rounds, strict=True)]


@dataclass(frozen=True)
class Ratio:
    """One series over another, pair by pair."""

    each: list[float]

    @classmethod
    def of(cls, over: Sequence[float], under: Sequence[float]) -> Ratio:
        """The ratios of runs that were neighbours."""
        return cls([a / b for a, b in zip(over, under, strict=True)])

    @property
    def median(self) -> float:
        """What is quoted."""
        return statistics.median(self.each)

    def __str__(self) -> str:
        return f"{self.median:.2f} x ({min(self.each):.2f}-{max(self.each):.2f})"


def milliseconds(seconds: Sequence[float]) -> str:
    """The median of a series."""
    return f"{statistics.median(seconds) * 1000:,.0f} ms"


@dataclass(frozen=True)
class Row:
    """A line of the table; `met` says whether the bound holds, None where there is none."""

    what: str
    ours: str = ""
    other: str = ""
    ratio: str = ""
    runs: str = ""
    bound: str = ""
    met: bool | None = None

    def cells(self) -> list[str]:
        """As the table shows them."""
        verdict = {True: "met", False: "**missed**", None: ""}[self.met]
        bound = f"{self.bound}: {verdict}" if verdict else self.bound
        return [self.what, self.ours, self.other, self.ratio, self.runs, bound]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns also line up for bare eyes; all but the first to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    shown = []
    for line in (lines[0], rule, *lines[1:]):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        shown.append(f"| {' | '.join(cells)} |")
    return "\n".join(shown) + "\n"


@contextmanager
def _alarm() -> Iterator[None]:
    def late(_signum: int, _frame: object) -> NoReturn:
        raise BenchError(f"a process still runs after {TIMEOUT_S} s")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(TIMEOUT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
