"""What known schema tools say when they are done, and when they are not. Pure.

Their exit codes are no proof: drizzle-kit 0.31 exits 0 when its SQL failed half way
(https://github.com/drizzle-team/drizzle-orm/issues/6192), and psql without ON_ERROR_STOP always.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

from .. import log, tools
from ..lines import MAX_LINE, shown
from ..postgres.refusal import REFUSES
from ..tools import Failure, Tool

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CURSOR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\r")
"""What a spinner overwrites its line with."""

_SPUN = re.compile(r"(?<=Pulling schema from database\.\.\.)")
"""Where the spinner of drizzle-kit 0.21 ends, which writes no line break after it."""


_SEE_LINES: Final = "Correct what its lines say and start again."

_SILENT: Final = (
    "Correct what its lines say; if they say nothing, look whether it connects to the same "
    "database. If it did what it should, set push.success to a pattern of what it says then."
)

REFUSED: Final = re.compile(rf"{re.escape(REFUSES)} (.+?); allow it")


class Said(NamedTuple):
    """What a child's lines come to."""

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

_DONE: Final = Failure(())


class _Known(NamedTuple):
    """The known tools, and all of their words at once for the lines that have none of them.

    There may be a million lines. Python's search is as fast as it should be if every alternative
    begins with a letter, so the words for a line's start are apart.
    """

    tools: tuple[Tool, ...]
    at_start: re.Pattern[str]
    anywhere: re.Pattern[str]

    def may_be_of(self, line: str) -> bool:
        """Whether any tool has a word for it."""
        return bool(self.at_start.match(line) or self.anywhere.search(line))


@cache
def known() -> _Known:
    """The table; read when the first program is heard, not at a start without one."""
    spoken = tuple(tool for tool in tools.load() if tool.sign)
    words = [word for tool in spoken for word in tool.words()]
    return _Known(
        spoken,
        re.compile("|".join(word for word in words if word.startswith("^"))),
        re.compile("|".join(word for word in words if not word.startswith("^"))),
    )


def _says(words: Iterable[str], line: str) -> bool:
    return any(re.search(word, line) for word in words)


class Ear:
    """Hears a child's lines; ``success`` and ``failure`` stand in for the known tools' words."""

    def __init__(
        self, success: re.Pattern[str] | None = None, failure: re.Pattern[str] | None = None
    ) -> None:
        self._success = success
        self._failure = failure
        self._found_success = False
        self._found_failure = ""
        self._line = ""
        self._seen: set[str] = set()
        self._known = known()
        self._last_words: dict[str, Failure] = {}
        self._refused: dict[str, None] = {}

    def hear(self, line: str) -> None:
        """Take one line, with or without a terminal's escapes; what is kept of it is masked."""
        self._line = line
        for number, part in enumerate(_parts(line[:MAX_LINE])):
            self._hear(part, number)

    def _quote(self, number: int) -> str:
        """A part of the line that is being heard, for people."""
        parts = _parts(shown(self._line))
        # One less than were heard, if a secret goes over its end.
        return parts[min(number, len(parts) - 1)]

    def _hear(self, line: str, number: int) -> None:
        if self._success and self._success.search(line):
            self._found_success = True
        if self._failure and self._failure.search(line):
            self._found_failure = self._found_failure or self._quote(number)
        if match := REFUSED.search(line):
            self._refused |= dict.fromkeys(log.mask(match[1]).split(", "))
        if self._known.may_be_of(line):
            for part in _SPUN.split(line):
                for tool in self._known.tools:
                    self._hear_tool(tool, part, number)

    def _hear_tool(self, tool: Tool, line: str, number: int) -> None:
        """Its last word counts: a script may try again, or go on after it was done."""
        word = self._last_words.get(tool.name)
        if _says(tool.success, line):
            self._seen.add(tool.name)
            self._last_words[tool.name] = _DONE
            return
        if _says(tool.sign, line):
            self._seen.add(tool.name)
            if word is _DONE:  # another run begins
                del self._last_words[tool.name]
                word = None
        failure = next((each for each in tool.failure if _says(each.says, line)), None)
        if failure and (word is None or word is _DONE):
            quote = _SPUN.split(self._quote(number))[-1].strip()[:MAX_QUOTE]
            self._last_words[tool.name] = failure._replace(meaning=f"{failure.meaning}: {quote}")

    def said(self) -> Said:
        """What it comes to."""
        return self._said()._replace(refused=tuple(self._refused))

    def _said(self) -> Said:
        if self._found_failure:
            return _not_done(f"push.failure: {self._found_failure}")
        if self._success is None:
            return self._known_tools()
        if self._found_success:
            return _done("push.success")
        return _not_done("no line matches push.success")

    def _known_tools(self) -> Said:
        done = []
        for tool in self._known.tools:
            if tool.name not in self._seen:
                continue
            word = self._last_words.get(tool.name)
            if word is None and tool.success:
                return _not_done(f"{tool.name} did not say that it was done", _SILENT)
            if word is not None and word is not _DONE:
                return _not_done(f"{tool.name} {word.meaning}", word.remedy)
            if word is _DONE:
                done.append(tool.name)
        return _done(" and ".join(done)) if done else Said()


def _parts(line: str) -> list[str]:
    """A line's parts: what a spinner overwrote was said all the same."""
    return _CURSOR.split(_COLOURS.sub("", line))


def _done(who: str) -> Said:
    return Said(f"{who}: succeeded", succeeded=True)


def _not_done(what: str, remedy: str = _SEE_LINES) -> Said:
    return Said(what, succeeded=False, remedy=remedy)
