"""What is left of drizzle-kit when it is killed; all else of it is in process/test_drizzle.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.drizzle.documented import AFTER, KILLED, cells
from tests.support.drizzle.kit import PUSH, VERSIONS
from tests.support.npm import PG
from tests.tools.tool import Tool, npm
from tests.tools.trial import MORE, USERS

pytestmark = pytest.mark.long

if TYPE_CHECKING:
    from tests.tools.trial import Begin

OLDEST, _, NEW, RC = VERSIONS


def _tool(version: str) -> Tool:
    packages = {"drizzle-kit": version, "drizzle-orm": VERSIONS[version], "pg": PG}
    return Tool("drizzle-kit", version, tuple(PUSH), npm(packages))


TOOLS = [_tool(version) for version in (OLDEST, NEW, RC)]


@pytest.mark.parametrize("tool", TOOLS, ids=str)
def test_it_is_killed(begin: Begin, tool: Tool) -> None:
    """It leaves what it did until then and no session, and the next start does the rest."""
    trial = begin(tool)
    trial.deployed()

    assert trial.killed("one", "more").cell == cells()[KILLED][tool.version]
    assert (trial.stage.sessions(), trial.users()) == ([], USERS)

    assert trial.start("one", "more").cell == cells()[AFTER][tool.version]
    assert (trial.tables(), trial.users()) == (MORE, USERS)
