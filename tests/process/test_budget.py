"""A start is over within its `budget_s`, whatever it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.program import python
from tests.support.stage import Stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server


@pytest.mark.timeout(180)
def test_a_server_that_goes_while_the_lock_is_awaited(own_server: Server, tmp_path: Path) -> None:
    """Whoever waits connects again within the lock's time: one clock, not another wait for each."""
    with own_server.connect() as connection:
        connection.execute("create role own login createdb password 'own-password'")
    stage = Stage(tmp_path, own_server, "own_db", "own", "own-password")
    stage.environ |= {"ENTRYPOINT_WAIT_TIMEOUT": "100", "ENTRYPOINT_LOCK_TIMEOUT": "10"}
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    leader = stage.start()
    leader.until("push.output")
    follower = stage.start()
    follower.until("lock.contended")
    own_server.stop()

    assert leader.wait() == 6
    assert follower.wait(timeout=60) == 4
    failure = follower.one("lock.failed")
    assert "was not ready after" in failure["error"]
    assert failure["elapsed_s"] < 20
