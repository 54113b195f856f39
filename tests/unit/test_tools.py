"""The table of tools is whole: every word is used, and no name is known twice."""

from __future__ import annotations

import re

import pytest

from entrypoint.config import tools
from entrypoint.config.tools import Tool, keeps_books
from tests.support.docs import marked, page

TOOLS = tools.load()
SPOKEN = [tool for tool in TOOLS if tool.words()]


def test_every_tool_has_something() -> None:
    """A row has words, or at least tables; words come with the versions that said them."""
    for tool in TOOLS:
        assert tool.words() or tool.tables, tool.name
        assert bool(tool.words()) == bool(tool.versions), tool.name
        assert tool.success or tool.failure or not tool.sign, tool.name


@pytest.mark.parametrize("tool", SPOKEN, ids=lambda tool: tool.name)
def test_every_word_is_a_pattern(tool: Tool) -> None:
    """It compiles, matches no empty line, and its bars are in groups, so that its `^` is of all."""
    for word in tool.words():
        assert not re.search(word, ""), word
        flat, before = re.sub(r"\\.|\[[^]]*\]", "", word), ""
        while flat != before:
            flat, before = re.sub(r"\([^()]*\)", "", flat), flat
        assert "|" not in flat, word


@pytest.mark.parametrize("tool", SPOKEN, ids=lambda tool: tool.name)
def test_every_failure_has_a_remedy(tool: Tool) -> None:
    """It is a sentence that tells somebody what to do, and names flags that the tool has."""
    for failure in tool.failure:
        assert failure.says
        assert failure.meaning
        assert failure.remedy.endswith(".")
        assert "{" not in failure.remedy
        assert "  " not in failure.remedy


@pytest.mark.parametrize(
    ("names", "columns", "known"),
    [
        ({"pgmigrations", "public.pgmigrations"}, {"id"}, True),
        ({"__drizzle_migrations", "drizzle.__drizzle_migrations"}, set[str](), True),
        ({"__drizzle_migrations", "public.__drizzle_migrations"}, set[str](), False),
        ({"migrations"}, {"id", "timestamp", "name"}, True),
        ({"migrations"}, {"id", "name"}, False),
        ({"migrations"}, {"id", "timestamp", "name", "bird"}, False),
        ({"birds"}, {"id", "timestamp", "name"}, False),
    ],
)
def test_bookkeeping(names: set[str], columns: set[str], *, known: bool) -> None:
    """A tool's table is known by its name, and by its columns where others use the name too."""
    assert keeps_books(names, columns) is known


def test_the_documents_know_the_same_tools() -> None:
    """Every tool with words is in docs/tools.md with its flags, and no version is unknown here."""
    versions = {f"{tool.name} {version}" for tool in SPOKEN for version in tool.versions}
    for tool in SPOKEN:
        assert tool.name in page("docs/tools")
        assert tool.flags in page("docs/tools"), tool.name
    table = marked("docs/tools", "matrix")
    matrix = re.findall(r"^\| (\S+ \d[\w.-]+)[ |]", table, re.MULTILINE)
    assert matrix
    assert [row for row in matrix if row not in versions] == []
