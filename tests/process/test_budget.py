"""A start is over within its `budget_s`, whatever it waits for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from entrypoint.postgres import lock
from tests.support.program import python
from tests.support.site import HANG, Site, http
from tests.support.stage import Stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server


@pytest.mark.long
def test_a_start_that_waits_for_everything_is_over_in_time(stage: Stage) -> None:
    """A gate, another holder of the lock, a deaf push and a deaf webhook: all end before it."""
    with stage.server.connect() as connection:
        create = sql.SQL("create database {} owner {}")
        names = map(sql.Identifier, (stage.database, stage.user))
        connection.execute(create.format(*names))
    stage.environ |= {
        "ENTRYPOINT_WAIT_TIMEOUT": "1",
        "ENTRYPOINT_LOCK_TIMEOUT": "5",
        "ENTRYPOINT_PUSH_TIMEOUT": "1",
        "ENTRYPOINT_SKIP": "seed",
    }
    stage.sections["database"] = {"extensions": ["citext"]}
    stage.push = python("push", "ignore-sigterm", "sleep", "60")
    with Site(HANG) as hook, Site(http("503 Service Unavailable")) as gate, stage.connect() as held:
        stage.environ["ENTRYPOINT_NOTIFY_URL"] = hook.url()
        stage.gates = [{"url": gate.url(), "timeout": 5}]
        held.execute("begin")
        held.execute("select pg_advisory_xact_lock(%s)", [lock.KEY])
        started = time.monotonic()
        program = stage.start()
        program.until("gate.retry_scheduled")
        gate.answer = http()
        program.until("lock.contended")
        held.execute("commit")

        assert program.wait(timeout=90) == 7
        took_s = time.monotonic() - started
    assert program.one("extensions.finished")["created"] == ["citext"]
    assert program.one("notify.failed")["cause"] == "no answer within 5 s"
    assert 16 < took_s < program.one("entrypoint.started")["budget_s"]


@pytest.mark.timeout(180)
def test_a_server_that_goes_while_the_lock_is_awaited(own_server: Server, tmp_path: Path) -> None:
    """Whoever waits connects again within the lock's time: one clock, not another wait for each."""
    with own_server.connect() as connection:
        connection.execute("create role own login createdb password 'own-password'")
    stage = Stage(tmp_path, own_server, "own_db", "own", "own-password")
    stage.environ |= {"ENTRYPOINT_WAIT_TIMEOUT": "100", "ENTRYPOINT_LOCK_TIMEOUT": "10"}
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    leader = stage.start()
    leader.until("push.printed")
    follower = stage.start()
    follower.until("lock.contended")
    own_server.stop()

    assert leader.wait() == 6
    assert follower.wait(timeout=60) == 4
    failure = follower.one("lock.failed")
    assert "was not ready after" in failure["error"]
    assert failure["elapsed_s"] < 20


def test_with_nothing_to_do_no_wait_for_the_lock_is_counted(stage: Stage) -> None:
    """What takes no lock has it not in its budget."""
    stage.environ |= {"ENTRYPOINT_SKIP": "push", "SEED_TENANT_ID": ""}
    program = stage.start()

    assert program.wait() == 0
    assert "lock.started" not in program.names()
    assert program.one("entrypoint.started")["budget_s"] == 20 + 107
