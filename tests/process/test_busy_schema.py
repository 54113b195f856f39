"""Starts while somebody else changes the schema: nothing hangs, nothing is believed too early."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from tests.support.program import CONNECT, python

if TYPE_CHECKING:
    from tests.support.stage import Stage

VIEW = "create or replace view rpg_names as select name from rpg_heroes"
LOCK = "begin; lock table rpg_heroes in access exclusive mode"


@pytest.fixture
def proved(stage: Stage) -> Stage:
    """A stage that was pushed, with a view: describing it locks the table under it."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    stage.push = ["sh", "push.sh"]
    (stage.directory / "push.sh").write_text(shlex.join(python("push", "sql", VIEW)))
    assert stage.start().wait() == 0
    second = stage.start()
    assert second.wait() == 0
    assert second.one("push.skipped")["reason"] == "unchanged"
    return stage


def test_a_locked_table_does_not_matter_to_a_known_state(proved: Stage) -> None:
    """Nobody has committed a change, so the schema is what it was at the last push."""
    with proved.connect() as blocker:
        blocker.execute(f"{LOCK}; alter table rpg_heroes add more int")
        program = proved.start()
        assert program.wait() == 0, program.output
        assert program.one("push.skipped")["reason"] == "unchanged"
        blocker.commit()
    last = proved.start()
    assert last.wait() == 0
    assert last.one("push.started")["reason"] == "drift"


def test_a_locked_table_does_not_hang_a_start(proved: Stage) -> None:
    """What cannot be looked at is not proved: the start goes on to the lock, and says why."""
    with proved.connect() as changed:
        changed.execute("alter table rpg_heroes add more int")
        changed.execute("alter table rpg_heroes drop more")
    with proved.connect() as blocker:
        blocker.execute(LOCK)
        (proved.directory / "push.sh").write_text(shlex.join(CONNECT))
        program = proved.start()

        assert program.wait() == 0, program.output
        assert "unknown" in program.one("push.started")["reason"]
        assert program.one("seed.skipped")["reason"] == "seeded"
        assert program.all("ledger.not_written")
    last = proved.start()
    assert last.wait() == 0
