"""The tools that people push with. The data is in tools.toml, which no warm start reads."""

import re
import tomllib
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

SHIPPED: Final = Path(__file__).with_name("tools.toml")


class ToolFailure(NamedTuple):
    """A failure that a tool reports: its words, their meaning and the remedy."""

    says: tuple[str, ...]
    meaning: str = "reported an error"
    remedy: str = "Correct the error in its lines and start again."
    until: tuple[str, ...] = ()  # words that undo the failure, besides the tool's success


class Tool(NamedTuple):
    """A tool with its words and its tables; see the head of tools.toml."""

    name: str
    versions: tuple[str, ...] = ()
    sign: tuple[str, ...] = ()  # empty for a tool whose words no other program prints
    success: tuple[str, ...] = ()  # empty for a tool that may succeed silently
    failure: tuple[ToolFailure, ...] = ()
    tables: tuple[str, ...] = ()
    flags: str = ""

    def words(self) -> tuple[str, ...]:
        """All patterns of the tool."""
        failures = [word for each in self.failure for word in (*each.says, *each.until)]
        return (*self.sign, *self.success, *failures)


@cache
def load() -> tuple[Tool, ...]:
    """Read the shipped table once. Raises OSError if the installation is incomplete."""
    rows = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    return tuple(_tool(name, **row) for name, row in rows.items())


def _tool(
    name: str, *, failure: Collection[Any] = (), flags: str = "", **lists: Collection[str]
) -> Tool:
    return Tool(
        name,
        failure=tuple(_failure(**each, flags=flags) for each in failure),
        flags=flags,
        **{key: tuple(value) for key, value in lists.items()},
    )


def _failure(
    *, says: Collection[str], until: Collection[str] = (), flags: str, **texts: str
) -> ToolFailure:
    failure = ToolFailure(tuple(says), until=tuple(until), **texts)
    return failure._replace(remedy=failure.remedy.replace("{flags}", flags))


@cache
def bookkeeping() -> dict[str, frozenset[str] | None]:
    """The tables of all tools; with their columns if the name alone does not identify one."""
    known: dict[str, frozenset[str] | None] = {}
    for tool in load():
        for table in tool.tables:
            name, _, columns = table.partition(" (")
            known[name] = frozenset(re.findall(r"\w+", columns)) or None
    return known


def doubtful() -> list[str]:
    """The tables that only their columns identify."""
    return [name for name, columns in bookkeeping().items() if columns]


def keeps_books(names: Collection[str], columns: Collection[str]) -> bool:
    """Whether a table with these names and columns is a known tool's."""
    known = bookkeeping()
    return any(known[name] in (None, {*columns}) for name in names if name in known)
