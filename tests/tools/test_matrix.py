"""What each tool does in the cases of docs/tools.md, and what a start makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from entrypoint.config import tools
from tests.support.docs import rows
from tests.tools.known import TOOLS
from tests.tools.trial import DROPPED, MORE, ONE, USERS

if TYPE_CHECKING:
    from tests.tools.tool import Tool
    from tests.tools.trial import Begin, Ended, Trial

EVERY = pytest.mark.parametrize("tool", TOOLS, ids=str)
ASKING = pytest.mark.parametrize("tool", [t for t in TOOLS if t.has("asks")], ids=str)

NOTHING = "asks nothing"


def _table() -> dict[str, dict[str, str]]:
    """What the documentation says, by tool and case."""
    head, _, *body = rows("docs/tools", "matrix")
    return {row[0]: dict(zip(head, row, strict=True)) for row in body}


TABLE = _table()


def check(ended: Ended, case: str) -> None:
    """Compare what came of it with the table."""
    assert ended.cell == TABLE[str(ended.tool)][case], ended.said


def check_mended(trial: Trial, ended: Ended, case: str) -> None:
    """The same of a start on what a push left half made, which a person may have to mend first."""
    check(ended, case)
    assert (ended.code != 0) == bool(trial.tool.mend)
    if trial.tool.mend:
        assert "undo" in ended.push["remedy"]
        with trial.stage.connect() as connection:
            connection.execute(trial.tool.mend.encode())
        check(trial.start("one", "more"), "succeeds")
    assert (trial.tables(), trial.users()) == (MORE, USERS)


def test_the_table_has_every_tool() -> None:
    """A row is there for each tool that is run, and for no other; what asks nothing is said."""
    assert list(TABLE) == list(map(str, TOOLS))
    versions = {tool.name: tool.versions for tool in tools.load()}
    for tool in TOOLS:
        assert tool.version.split()[0] in versions[tool.name]
        assert (TABLE[str(tool)]["asks"] == NOTHING) == (not tool.has("asks"))


@EVERY
def test_succeeds(begin: Begin, tool: Tool) -> None:
    """A role that may create its database needs no more, and no line of the start is a warning."""
    trial = begin(tool)

    ended = trial.start("one")

    check(ended, "succeeds")
    assert trial.tables() == ONE
    assert [e for e in ended.program.events if e["level"] != "info"] == []


@EVERY
def test_does_nothing(begin: Begin, tool: Tool) -> None:
    """A tool that has nothing left to do says so in its way, and changes nothing."""
    trial = begin(tool)
    trial.deployed()

    ended = trial.start("one")

    check(ended, "does nothing")
    assert ended.push["catalog"] == "unchanged"
    assert (trial.tables(), trial.users()) == (ONE, USERS)


@EVERY
def test_fails_half_way(begin: Begin, tool: Tool) -> None:
    """Two starts end with 7, no row is lost, and a corrected image starts, or says why not."""
    trial = begin(tool)
    trial.deployed()

    for _ in range(2):
        check(trial.start("one", "half"), "fails half way")
        assert trial.users() == USERS

    check_mended(trial, trial.start("one", "more"), "corrected")


@ASKING
def test_asks(begin: Begin, tool: Tool) -> None:
    """A question that nobody can answer ends the start, and changes nothing."""
    trial = begin(tool)
    trial.deployed()

    check(trial.start("one", "asks"), "asks")
    assert (trial.tables(), trial.users()) == (ONE, USERS)


@EVERY
def test_drops_a_column(begin: Begin, tool: Tool) -> None:
    """The guard refuses it while there are values, until ENTRYPOINT_ALLOW_LOSS names the column."""
    trial = begin(tool)
    trial.deployed()

    check(trial.start("one", "drop"), "drops a column")
    assert (trial.tables(), trial.users()) == (ONE, USERS)

    trial.stage.environ["ENTRYPOINT_ALLOW_LOSS"] = "rpg_users.email"
    check(trial.start("one", "drop"), "succeeds")
    assert trial.tables() == DROPPED


@EVERY
def test_is_killed(begin: Begin, tool: Tool) -> None:
    """Nothing is lost and no session stays; the next start does the rest, or says why not."""
    trial = begin(tool)
    trial.deployed()

    check(trial.killed("one", "more"), "is killed")
    assert (trial.stage.sessions(), trial.users()) == ([], USERS)

    check_mended(trial, trial.start("one", "more"), "after that")
