"""What known schema tools say when they are done, and when they are not. Pure.

Their exit codes are no proof: drizzle-kit 0.31 exits 0 when its SQL failed half way
(https://github.com/drizzle-team/drizzle-orm/issues/6192), and psql without ON_ERROR_STOP always.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from .. import log
from ..lines import MAX_LINE, shown
from ..postgres.refusal import REFUSES

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CURSOR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\r")
"""What a spinner overwrites its line with."""

_SPUN = re.compile(r"(?<=Pulling schema from database\.\.\.)")
"""Where the spinner of drizzle-kit 0.21 ends, which writes no line break after it."""


class Problem(NamedTuple):
    """Something that a tool says, what it means, and what to do."""

    pattern: str
    meaning: str
    remedy: str


class Tool(NamedTuple):
    """A program and its words; patterns are looked for in every line."""

    name: str
    sign: str
    """By which a run is known to have begun; without it the tool's problems are not believed."""

    success: str | None
    """One of them ends every run that succeeded; None for a tool that then says nothing."""

    problems: tuple[Problem, ...]


_SEE_LINES: Final = "Correct what its lines say and start again."

_SILENT: Final = (
    "Correct what its lines say; if they say nothing, look whether it connects to the same "
    "database. If it did what it should, set push.success to a pattern of what it says then."
)

_TWO_RELEASES: Final = (
    "Make the change in two releases (add first, drop later), or make it by hand once and start "
    "again."
)

TOOLS: Final = (
    Tool(
        "drizzle-kit",  # 0.21.4, 0.31.8, 0.31.11 and 1.0.0-rc.5 were run
        r"^Reading config file|Pulling schema from database|^Using '\S+' driver for database|"
        r"^\{\"status\":\"(error\",\"error\":\{\"code\"|missing_hints\",\"unresolved\"):",
        r"^\[✓\] Changes applied|^\[i\] No changes detected|migrations applied successfully!|"
        r"^\{\"status\":\"(ok|no_changes)\"|Your SQL migration file|^No schema changes, nothing to",
        (
            Problem(
                r"Interactive prompts require a TTY|missing_hints|created or renamed from another|"
                r"Do you (still )?want to |Yes, I want to ",
                "asked a question and had no terminal",
                _TWO_RELEASES,
            ),
            Problem(
                r"^\s*(\w*Error|error): |^Error  |query error: |^\{\"status\":\"error\"",
                "reported an error",
                _SEE_LINES,
            ),
        ),
    ),
    Tool(
        "Prisma",  # 6.19.3 was run, 7.10.1 was read
        r"^Datasource \"\w+\": PostgreSQL database",
        r"in sync with (your|the) Prisma schema|^No pending migrations to apply|"
        r"^All migrations have been successfully applied|^Database schema is up to date|"
        r"marked as (applied|rolled back)|^Script executed successfully",
        (
            Problem(
                r"--accept-data-loss|There might be data loss",
                "wanted to lose data and was not allowed to",
                _TWO_RELEASES,
            ),
            Problem(r"^Error: |^Error code: P\d", "reported an error", _SEE_LINES),
        ),
    ),
    Tool(
        "node-pg-migrate",  # 9.0.0 was run
        r"^> Migrating files:|^### MIGRATION ",
        r"^Migrations complete!",
        (
            Problem(
                r"^Error executing:|^> Rolling back attempted migration|^Error: ",
                "reported an error",
                _SEE_LINES,
            ),
        ),
    ),
    Tool(
        "psql",  # 15 was run
        r"^psql:|^(ERROR|FATAL|PANIC):  ",
        None,
        (
            Problem(
                r"^(psql:.+?:\d+: )?(ERROR|FATAL|PANIC):  |^psql:(.+?:\d+:)? error: ",
                "reported an error",
                "Correct what its lines say; give psql -v ON_ERROR_STOP=1 --single-transaction.",
            ),
        ),
    ),
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

_DONE: Final = Problem("", "", "")


def _alternatives(patterns: Iterable[str]) -> list[str]:
    """What stands between the bars of patterns that are in no group."""
    return [
        alternative
        for pattern in patterns
        for alternative in re.findall(r"(?:\\.|\((?:\\.|[^()])*\)|[^|\\(])+", pattern)
    ]


_PATTERNS: Final = [
    pattern
    for tool in TOOLS
    for pattern in (tool.sign, tool.success, *(problem.pattern for problem in tool.problems))
    if pattern
]

# Most lines have none of the words, and there may be a million of them. Python's search is as fast
# as it should be if every alternative begins with a letter, so those for a line's start are apart.
_AT_START: Final = re.compile("|".join(p for p in _alternatives(_PATTERNS) if p.startswith("^")))
_ANYWHERE: Final = re.compile(
    "|".join(p for p in _alternatives(_PATTERNS) if not p.startswith("^"))
)


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
        self._last_words: dict[str, Problem] = {}
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
        if _AT_START.match(line) or _ANYWHERE.search(line):
            for part in _SPUN.split(line):
                for tool in TOOLS:
                    self._hear_tool(tool, part, number)

    def _hear_tool(self, tool: Tool, line: str, number: int) -> None:
        """Its last word counts: a script may try again, or go on after it was done."""
        word = self._last_words.get(tool.name)
        if tool.success and re.search(tool.success, line):
            self._seen.add(tool.name)
            self._last_words[tool.name] = _DONE
            return
        if re.search(tool.sign, line):
            self._seen.add(tool.name)
            if word is _DONE:  # another run begins
                del self._last_words[tool.name]
                word = None
        problem = next((p for p in tool.problems if re.search(p.pattern, line)), None)
        if problem and (word is None or word is _DONE):
            quote = _SPUN.split(self._quote(number))[-1].strip()[:MAX_QUOTE]
            self._last_words[tool.name] = problem._replace(meaning=f"{problem.meaning}: {quote}")

    def said(self) -> Said:
        """What it comes to."""
        return self._said()._replace(refused=tuple(self._refused))

    def _said(self) -> Said:
        if self._found_failure:
            return _not_done(f"push.failure: {self._found_failure}")
        if self._success is None:
            return self._known()
        if self._found_success:
            return _done("push.success")
        return _not_done("no line matches push.success")

    def _known(self) -> Said:
        done = []
        for tool in TOOLS:
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
