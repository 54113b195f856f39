"""What known schema tools say when they are done, and when they are not. Pure.

Their exit codes are no proof: drizzle-kit 0.31 exits 0 when its SQL failed half way
(https://github.com/drizzle-team/drizzle-orm/issues/6192), and psql without ON_ERROR_STOP always.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, NamedTuple

from .. import log
from ..config import tools
from ..config.tools import Tool, ToolFailure
from ..postgres.refusal import REFUSES
from ..process.output import MAX_LINE, shown

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CURSOR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\r")
"""What a spinner overwrites its line with."""

SPUN = re.compile(r"(?<=Pulling schema from database\.\.\.)")
"""Where the spinner of drizzle-kit 0.21 ends, which writes no line break after it."""


_SEE_LINES: Final = "Correct what its lines say and start again."

SET_SUCCESS: Final = (
    "If it did what it should, set push.success to a pattern of what it says then, or let a shell "
    'say so: push.command = ["sh", "-c", "… && echo pushed"] and push.success = "^pushed$".'
)

SILENCE_SEED: Final = (
    "If it did what it should, keep its lines from being judged: seed.command = "
    '["sh", "-c", "… >/dev/null 2>&1"], and let seed.check prove it.'
)
"""The same for a seed, which has no pattern of its own."""

_SILENT: Final = (
    "Correct what its lines say; if they say nothing, look whether it connects to the same "
    "database."
)

REFUSED: Final = re.compile(rf"{re.escape(REFUSES)} (.+?); allow it")


class ToolResult(NamedTuple):
    """What a child's lines prove."""

    text: str = "not recognised"
    """For an event."""

    succeeded: bool | None = None
    """None where no line is known."""

    remedy: str = ""
    """What to do where it did not succeed."""

    refused: tuple[str, ...] = ()
    """What the guard refused to lose, by the server's error."""


MAX_QUOTE: Final = 200
"""Characters of a tool's own line in what is told of it."""


class Patterns:
    """Words to look for in a line, all at once.

    There may be a million lines. Python's search tries a `^` at every character, and is as fast as
    it should be if every alternative begins with a letter, so the words for a line's start are
    apart.
    """

    def __init__(self, words: Iterable[str]) -> None:
        words = list(words)
        self.at_start = "|".join(word for word in words if word.startswith("^"))
        self.anywhere = "|".join(word for word in words if not word.startswith("^"))
        self._match = re.compile(self.at_start).match if self.at_start else None
        self._search = re.compile(self.anywhere).search if self.anywhere else None

    def found_in(self, line: str) -> bool:
        """Whether one of them is in it."""
        match, search = self._match, self._search
        return bool((match and match(line)) or (search and search(line)))


class _ToolPatterns(NamedTuple):
    """A tool's patterns, compiled."""

    tool: Tool
    any: Patterns
    sign: Patterns
    success: Patterns
    failures: tuple[tuple[Patterns, ToolFailure], ...]
    until: Patterns
    """What undoes those failures that have such words."""


class _Known(NamedTuple):
    """The known tools, and one pattern of them all, which most lines do not match."""

    tools: tuple[_ToolPatterns, ...]
    any: Patterns


def _ready(tool: Tool) -> _ToolPatterns:
    failures = [(Patterns(each.says), each) for each in tool.failure]
    # A tool without a sign is known by all of its words.
    sign = tool.sign or (*tool.success, *(word for each in tool.failure for word in each.says))
    until = Patterns(word for each in tool.failure for word in each.until)
    any_ = Patterns(tool.words())
    return _ToolPatterns(tool, any_, Patterns(sign), Patterns(tool.success), tuple(failures), until)


@cache
def known() -> _Known:
    """The table; read at the first line of a program, and not at a start without one."""
    spoken = [tool for tool in tools.load() if tool.words()]
    return _Known(
        tuple(map(_ready, spoken)), Patterns(word for tool in spoken for word in tool.words())
    )


@dataclass
class _Run:
    """What one tool has printed so far."""

    patterns: _ToolPatterns
    seen: bool = False
    begun: bool = False
    """Whether there was a sign of it. Its success may be anybody's word, and names no failure."""

    done: bool = False
    quote: str = ""
    """Of its failure, if it has failed."""

    failure: ToolFailure | None = None
    late: bool = False
    """Whether it had been done: the failure may be another program's, whose words are alike."""

    got_further: bool = False
    """Whether it said something by which a failure to connect is undone."""

    def feed(self, line: str, quote: Callable[[], str]) -> None:
        """Its last word counts: a script may try again, or go on after it was done."""
        patterns = self.patterns
        if not patterns.any.found_in(line):
            return
        sign = patterns.sign.found_in(line)
        self.begun = self.begun or sign
        if patterns.success.found_in(line):
            self.seen = self.done = True
            self.failure = None
            return
        failed = next((each for says, each in patterns.failures if says.found_in(line)), None)
        if sign:
            self.seen = True
            if self.failure is None and not failed:  # another run begins
                self.done = False
        if failed:
            self._fail(failed, quote)
        elif patterns.until.found_in(line):
            self.got_further = True
            if self.failure and self.failure.until:
                self.failure = None

    def _fail(self, failure: ToolFailure, quote: Callable[[], str]) -> None:
        # Of two the first is the cause, unless a retry may have dealt with it.
        if self.failure is None or (self.failure.until and not failure.until):
            self.failure, self.quote, self.late = failure, quote(), self.done
            self.done = False

    def is_unsure(self) -> bool:
        """Whether its failure may be another program's: it comes late, or nothing says whose it is.

        A line of the server's as libpq has it is psql's, or that of a script that prints an error.
        Behind a tool that says nothing when it is done, an exception is that of whoever came then;
        and one that could not connect may have been waited out.
        """
        tool = self.patterns.tool
        waited = self.failure is not None and bool(self.failure.until)
        return self.late or waited or not (tool.success or self.quote.startswith(tool.name))

    def dealt_with(self, *, connected: bool | None) -> bool:
        """Whether its failure is one of connecting that the script waited out.

        A program that had a session in the end, and said nothing before it failed, has. That
        `psql -qf a.sql; psql -qf b.sql; true` failed to connect for b.sql alone cannot be told
        from that: both are as silent.
        """
        undone = self.failure is not None and bool(self.failure.until)
        return undone and connected is True and not self.got_further


class OutputParser:
    """Judges a child's lines; ``success`` and ``failure`` replace the known tools' patterns.

    ``if_right`` is what to do about a verdict that is wrong.
    """

    def __init__(
        self,
        success: re.Pattern[str] | None = None,
        failure: re.Pattern[str] | None = None,
        *,
        if_right: str = SET_SUCCESS,
    ) -> None:
        self._if_right = if_right
        self._success = success
        self._failure = failure
        self._found_success = False
        self._found_failure = ""
        self._line = ""
        self._runs: list[_Run] = []  # made at the first line, while the program runs
        self._refused: dict[str, None] = {}

    def feed(self, line: str) -> None:
        """Take one line, with or without a terminal's escapes; what is kept of it is masked."""
        self._line = line
        self._runs = self._runs or [_Run(patterns) for patterns in known().tools]
        for number, part in enumerate(parts(line)):
            self._feed(part[:MAX_LINE], number)

    def _quote(self, number: int) -> str:
        """A part of the current line, for people."""
        pieces = parts(log.mask(self._line))
        # One less than were parsed, if a secret goes over its end.
        return shown(pieces[min(number, len(pieces) - 1)])

    def _feed(self, line: str, number: int) -> None:
        if self._success and self._success.search(line):
            self._found_success = True
        if self._failure and self._failure.search(line):
            self._found_failure = self._found_failure or self._quote(number)
        if match := REFUSED.search(line):
            self._refused |= dict.fromkeys(log.mask(match[1]).split(", "))
        if known().any.found_in(line):
            for part in SPUN.split(line):
                for run in self._runs:
                    run.feed(part, partial(self._quote_short, number))

    def _quote_short(self, number: int) -> str:
        return SPUN.split(self._quote(number))[-1].strip()[:MAX_QUOTE]

    def result(self, *, connected: bool | None = None) -> ToolResult:
        """The result, for a program that ``connected`` to the database; None if nobody knows."""
        return self._result(connected=connected)._replace(refused=tuple(self._refused))

    def _result(self, *, connected: bool | None) -> ToolResult:
        if self._found_failure:
            return _not_done(f"push.failure: {self._found_failure}")
        if self._success is None:
            return self._known_tools(connected=connected)
        if self._found_success:
            return _done("push.success")
        return _not_done("no line matches push.success")

    def _known_tools(self, *, connected: bool | None) -> ToolResult:
        done = []
        for run in self._runs:
            tool = run.patterns.tool
            if not run.seen:
                continue
            if run.failure and run.begun and not run.dealt_with(connected=connected):
                text = f"{tool.name} {run.failure.meaning}: {run.quote}"
                unsure = f" {self._if_right}" if run.is_unsure() else ""
                return _not_done(text, run.failure.remedy + unsure)
            if tool.success and run.begun and not run.done:
                return _not_done(
                    f"{tool.name} did not say that it was done", f"{_SILENT} {self._if_right}"
                )
            done.append(tool.name)
        return _done(" and ".join(done)) if done else ToolResult()


def parts(line: str) -> list[str]:
    """A line's parts: what a spinner overwrote was said all the same."""
    return _CURSOR.split(_COLOURS.sub("", line))


def _done(who: str) -> ToolResult:
    return ToolResult(f"{who}: succeeded", succeeded=True)


def _not_done(what: str, remedy: str = _SEE_LINES) -> ToolResult:
    return ToolResult(what, succeeded=False, remedy=remedy)
