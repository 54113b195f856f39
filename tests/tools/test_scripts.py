"""Scripts around a tool that hide its exit code, or try again: its words tell all the same."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from tests.tools.known import ORMS
from tests.tools.trial import MORE, ONE, USERS

if TYPE_CHECKING:
    from tests.tools.tool import Tool
    from tests.tools.trial import Begin

EVERY = pytest.mark.parametrize("tool", ORMS.values(), ids=str)

NOBODY = "DATABASE_URL=postgresql://nobody@127.0.0.1:1/nowhere"


@EVERY
def test_a_hidden_exit_code(begin: Begin, tool: Tool) -> None:
    """A script that goes on after its tool failed half way is not believed, whatever it says."""
    trial = begin(tool)
    trial.deployed()
    trial.stage.push = ["sh", "-c", f"{shlex.join(tool.push)} || echo 'schema is up to date'"]

    ended = trial.start("one", "half")

    assert ended.cell == "0 → 7 error"
    assert "exited with code 0, but" in ended.push["error"]
    assert trial.users() == USERS
    assert trial.tables() == ONE or tool.mend


@EVERY
def test_a_second_try(begin: Begin, tool: Tool) -> None:
    """A script that found no server at first, and then did all, is believed."""
    trial = begin(tool)
    trial.deployed()
    push = shlex.join(tool.push)
    trial.stage.push = ["sh", "-c", f"{NOBODY} {push} || exec {push}"]

    ended = trial.start("one", "more")

    assert len(ended.said) > 1
    assert ended.cell == "0 → 0"
    assert (trial.tables(), trial.users()) == (MORE, USERS)
