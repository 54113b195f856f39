"""What else is at work while a tool pushes: a live service, and a second replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.live import live
from tests.tools.known import ORMS
from tests.tools.trial import MORE, ONE, USERS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tools.tool import Tool
    from tests.tools.trial import Begin


@pytest.mark.parametrize("tool", ORMS.values(), ids=str)
def test_a_live_service_beside_a_push(begin: Begin, tool: Tool, tmp_path: Path) -> None:
    """It meets no error and loses no row, and what it empties and swaps does not fail the push."""
    trial = begin(tool)
    trial.deployed()
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "node_modules").symlink_to(tool.install()["node_modules"])

    with live(trial.stage.url, beside) as goes_on:
        ended = trial.start("one", "more")
        goes_on()

    assert ended.cell == "0 → 0"
    assert (trial.tables(), trial.users()) == (MORE, USERS)


def test_two_replicas(begin: Begin) -> None:
    """On a server without the database both serve, and Knex, which locks too, is run by one."""
    trial = begin(ORMS["Knex"])

    pair = [trial.begin("one") for _ in range(2)]
    for each in pair:
        assert each.wait() == 0, each.output

    told = [each.one(n) for each in pair for n in ("push.finished", "push.skipped") if each.all(n)]
    assert sorted(event["event"] for event in told) == ["push.finished", "push.skipped"]
    assert trial.tables() == ONE
