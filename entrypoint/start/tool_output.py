"""Recognises success and failure in the output of known schema tools. Pure.

Exit codes prove nothing: drizzle-kit 0.31 exits 0 after half of its SQL
(https://github.com/drizzle-team/drizzle-orm/issues/6192), and psql without ON_ERROR_STOP always.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Final, NamedTuple

from .. import log
from ..config import tools
from ..config.tools import Tool, ToolFailure
from ..postgres.refusal import REFUSES
from ..process.output import MAX_LINE, shown
from .endings import SEE_LINES

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CURSOR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\r")  # with these a spinner overwrites its line

SPUN = re.compile(r"(?<=Pulling schema from database\.\.\.)")
"""The end of drizzle-kit 0.21's spinner, which writes no line break."""

SET_SUCCESS: Final = (
    "If the push did its work, set push.success to a pattern of its last line, or let a shell "
    'print one: push.command = ["sh", "-c", "… && echo pushed"] and push.success = "^pushed$".'
)

SILENCE_SEED: Final = (  # `SET_SUCCESS` for a seed, which has no pattern of its own
    "If the seed did its work, hide its lines from the start: seed.command = "
    '["sh", "-c", "… >/dev/null 2>&1"], and let seed.check prove it.'
)

_SILENT: Final = (
    "Correct the error in its lines; if they report none, check whether it connects to the same "
    "database."
)

REFUSED: Final = re.compile(rf"{re.escape(REFUSES)} (.+?); allow it")


class ToolResult(NamedTuple):
    """What a child's lines prove."""

    text: str = "not recognised"  # a summary for events
    succeeded: bool | None = None  # None if no line is known
    remedy: str = ""  # the remedy for a failure
    refused: tuple[str, ...] = ()  # the tables and columns that the guard kept


MAX_QUOTE: Final = 200  # characters of a tool's line in a summary


class Patterns:
    """Words to search for in a line, all at once.

    Output may have a million lines. Python's search tries a `^` at every character, and is fast if
    every alternative begins with a letter, so words for a line's beginning have their own match.
    """

    def __init__(self, words: Iterable[str]) -> None:
        words = list(words)
        self.at_start = "|".join(word for word in words if word.startswith("^"))
        self.anywhere = "|".join(word for word in words if not word.startswith("^"))

    def found_in(self, line: str) -> bool:
        """Whether a line contains one of the words."""
        match, search = self._match, self._search
        return bool((match and match(line)) or (search and search(line)))

    # Compiled when a line is looked at: most words belong to tools that a service does not have.

    @cached_property
    def _match(self) -> Callable[[str], object] | None:
        return re.compile(self.at_start).match if self.at_start else None

    @cached_property
    def _search(self) -> Callable[[str], object] | None:
        return re.compile(self.anywhere).search if self.anywhere else None


class _ToolPatterns(NamedTuple):
    tool: Tool
    any: Patterns
    sign: Patterns
    success: Patterns
    failures: tuple[tuple[Patterns, ToolFailure], ...]
    until: Patterns  # the words that undo failures with an ``until``


class _Known(NamedTuple):
    """The known tools, and all their words in one pattern, which most lines do not match."""

    tools: tuple[_ToolPatterns, ...]
    any: Patterns


def _ready(tool: Tool) -> _ToolPatterns:
    failures = [(Patterns(each.says), each) for each in tool.failure]
    # All words of a tool without a sign are its own.
    sign = tool.sign or (*tool.success, *(word for each in tool.failure for word in each.says))
    until = Patterns(word for each in tool.failure for word in each.until)
    any_ = Patterns(tool.words())
    return _ToolPatterns(tool, any_, Patterns(sign), Patterns(tool.success), tuple(failures), until)


@cache
def known() -> _Known:
    """Return the table; a start that runs no program does not read it."""
    spoken = [tool for tool in tools.load() if tool.words()]
    words = Patterns(word for tool in spoken for word in tool.words())
    return _Known(tuple(map(_ready, spoken)), words)


@dataclass
class _Run:
    patterns: _ToolPatterns
    seen: bool = False
    begun: bool = False
    """Whether it printed a sign. Another program may print its success, and a failure needs one."""

    done: bool = False
    quote: str = ""  # the line of its failure, if it failed
    failure: ToolFailure | None = None
    late: bool = False  # whether it had succeeded before: the failure may be another program's
    got_further: bool = False  # whether it printed a word that undoes a failed connection

    def feed(self, line: str, quote: Callable[[], str]) -> None:
        """Take a line. The last word counts: a script may retry, or continue after a success."""
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
            if self.failure is None and not failed:  # another run of the tool begins
                self.done = False
        if failed:
            self._fail(failed, quote)
        elif patterns.until.found_in(line):
            self.got_further = True
            if self.failure and self.failure.until:
                self.failure = None

    def _fail(self, failure: ToolFailure, quote: Callable[[], str]) -> None:
        # The first failure is the cause, unless a retry may have undone it.
        if self.failure is None or (self.failure.until and not failure.until):
            self.failure, self.quote, self.late = failure, quote(), self.done
            self.done = False

    def is_unsure(self) -> bool:
        """Whether the failure may be another program's: it came late, or names no tool.

        psql or a script may have printed a server's error in libpq's form. After a tool that
        succeeds silently, an exception may come from the next program; and a script may have
        retried a failed connection.
        """
        tool = self.patterns.tool
        waited = self.failure is not None and bool(self.failure.until)
        return self.late or waited or not (tool.success or self.quote.startswith(tool.name))

    def dealt_with(self, *, connected: bool | None) -> bool:
        """Whether the failure is a failed connection that the script retried.

        A program with a session at the end, and no output before its failure, has retried. The
        output of `psql -qf a.sql; psql -qf b.sql; true` looks the same if only b.sql failed to
        connect.
        """
        undone = self.failure is not None and bool(self.failure.until)
        return undone and connected is True and not self.got_further


class OutputParser:
    """Judges a child's lines by ``success`` and ``failure``, else by the known tools' patterns."""

    def __init__(
        self,
        success: re.Pattern[str] | None = None,
        failure: re.Pattern[str] | None = None,
        *,
        if_right: str = SET_SUCCESS,  # the remedy for a wrong verdict
    ) -> None:
        self._if_right = if_right
        self._success = success
        self._failure = failure
        self._found_success = False
        self._found_failure = ""
        self._line = ""
        self._runs: list[_Run] = []  # read at the first line, while the program runs
        self._refused: dict[str, None] = {}

    def feed(self, line: str) -> None:
        """Take one line, with or without a terminal's escapes; keeps only masked text."""
        self._line = line
        self._runs = self._runs or [_Run(patterns) for patterns in known().tools]
        for number, part in enumerate(parts(line)):
            self._feed(part[:MAX_LINE], number)

    def _quote(self, number: int) -> str:
        pieces = parts(log.mask(self._line))
        # A mask over a line's break leaves one part less.
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
        """The result for a program that ``connected`` to the database; None if unknown."""
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
                return _not_done(f"{tool.name} reported no success", f"{_SILENT} {self._if_right}")
            done.append(tool.name)
        return _done(" and ".join(done)) if done else ToolResult()


def parts(line: str) -> list[str]:
    """Split a line at a spinner's escapes: what the spinner overwrote counts too."""
    return _CURSOR.split(_COLOURS.sub("", line))


def _done(who: str) -> ToolResult:
    return ToolResult(f"{who}: succeeded", succeeded=True)


def _not_done(what: str, remedy: str = SEE_LINES) -> ToolResult:
    return ToolResult(what, succeeded=False, remedy=remedy)
