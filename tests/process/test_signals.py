"""SIGTERM in every phase: exit 143, and nothing left, on this machine or on the server."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.program import alive, group, python, until

if TYPE_CHECKING:
    from tests.support.program import Program
    from tests.support.stage import Stage

LOCK_TABLE = "begin; lock table rpg_heroes in access exclusive mode"


def child_of(program: Program, step: str = "push") -> int:
    """The pid that the child's ready line names."""
    line = re.fullmatch(r"ready \(pid (\d+)\)", program.until(f"{step}.printed")["line"])
    assert line is not None
    return int(line[1])


def assert_nothing_left(stage: Stage) -> None:
    """No session of ours or the child's, no lock."""
    assert [row for row in stage.sessions() if str(row[1]).startswith("entrypoint/")] == []
    assert stage.locks() == 0


def test_sigterm_while_waiting_for_the_server(stage: Stage) -> None:
    """The wait ends at once."""
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        stage.environ["DATABASE_URL"] = f"postgres://u:p@127.0.0.1:{deaf.getsockname()[1]}/d"
        program = stage.start()
        program.until("wait.started")

        program.signal(signal.SIGTERM)

        assert program.wait(timeout=1) == 143
        assert program.one("wait.failed")["exit_code"] == 143


def test_sigterm_while_resolving_a_name(stage: Stage) -> None:
    """Between two attempts too."""
    stage.environ["DATABASE_URL"] = "postgres://u:p@no-such-host.invalid/d"
    program = stage.start()
    program.until("wait.retry_scheduled")

    program.signal(signal.SIGTERM)

    assert program.wait(timeout=1) == 143


def test_sigterm_while_waiting_for_the_lock(stage: Stage) -> None:
    """The follower goes, the leader is not disturbed."""
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    leader = stage.start()
    child_of(leader)
    follower = stage.start()
    follower.until("lock.contended")

    follower.signal(signal.SIGTERM)

    assert follower.wait(timeout=1) == 143
    assert follower.one("lock.failed")["exit_code"] == 143
    stage.gate.touch()
    assert leader.wait() == 0
    assert len(stage.runs("push")) == 1
    assert_nothing_left(stage)


@pytest.mark.parametrize("step", ["push", "seed"])
def test_sigterm_while_a_child_runs(stage: Stage, step: str) -> None:
    """The child gets it, its group is gone, and the service is never started."""
    setattr(stage, step, [*getattr(stage, step), "daemon", "ready", "sleep", "60"])
    program = stage.start()
    if step == "seed":
        program.until("seed.printed", line="inserted 1")
    program.until(f"{step}.printed", stream="stdout")
    until(lambda: any("ready" in e["line"] for e in program.all(f"{step}.printed")), "ready")
    pid = int(re.findall(r"pid (\d+)", program.all(f"{step}.printed")[-1]["line"])[0])
    assert len(group(pid)) == 2

    program.signal(signal.SIGTERM)

    assert program.wait(timeout=3) == 143
    assert program.one(f"{step}.failed")["exit_code"] == 143
    assert group(pid) == []
    assert "handoff.executed" not in program.names()
    assert_nothing_left(stage)


def test_ends_within_a_second_of_the_child(stage: Stage) -> None:
    """What comes after the child's end, the server's side of it, is quick."""
    stage.push = python("push", "ready", "sleep", "60")
    program = stage.start()
    pid = child_of(program)
    program.signal(signal.SIGTERM)
    until(lambda: not alive(pid), "the child is gone")
    gone = time.monotonic()

    program.wait(timeout=5)

    assert time.monotonic() - gone < 1


def test_a_stubborn_push_is_killed_after_ten_seconds(stage: Stage) -> None:
    """SIGKILL follows SIGTERM after 10 s."""
    stage.push = python("push", "ignore-sigterm", "ready", "sleep", "60")
    program = stage.start()
    pid = child_of(program)
    sent = time.monotonic()

    program.signal(signal.SIGTERM)

    assert program.wait(timeout=15) == 143
    assert 9.5 < time.monotonic() - sent < 12
    assert not alive(pid)
    assert_nothing_left(stage)


def test_a_second_sigterm_kills_at_once(stage: Stage) -> None:
    """It does not wait for the ten seconds."""
    stage.push = python("push", "ignore-sigterm", "ready", "sleep", "60")
    program = stage.start()
    pid = child_of(program)
    program.signal(signal.SIGTERM)
    with pytest.raises(AssertionError, match="not within"):
        until(lambda: not alive(pid), "the child survives the first", timeout=0.5)

    program.signal(signal.SIGTERM)

    assert program.wait(timeout=2) == 143
    assert not alive(pid)
    assert_nothing_left(stage)


def waiting(stage: Stage) -> list[tuple[Any, ...]]:
    """The statements that wait for a lock in the service's database."""
    with stage.connect() as connection:
        return connection.execute(
            "select pid, query from pg_stat_activity where datname = %s"
            " and wait_event_type = 'Lock'",
            [stage.database],
        ).fetchall()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_push_blocked_on_a_table_commits_nothing_after_we_are_gone(
    stage: Stage, how: signal.Signals
) -> None:
    """Its DDL is not left waiting on the server, where it would run when the table is free."""
    assert stage.start().wait() == 0
    stage.push = python("push", "ready", "sql", "alter table rpg_heroes add column level int")
    with stage.connect() as blocker:
        blocker.execute(LOCK_TABLE)
        program = stage.start()
        pid = child_of(program)
        until(lambda: waiting(stage), "the push waits for the table")

        program.signal(how)
        if how == signal.SIGKILL:  # a container that is killed dies with all its processes
            os.killpg(pid, signal.SIGKILL)

        program.wait(timeout=5)
        # Nobody is left to end the session of a push that was killed with us: the server sees that
        # its client is gone, because of client_connection_check_interval (1 s).
        until(lambda: not waiting(stage), "nobody waits for the table", timeout=5)
    assert_nothing_left(stage)
    with stage.connect() as connection:
        query = "select attname from pg_attribute where attrelid = 'rpg_heroes'::regclass"
        assert ("level",) not in connection.execute(query).fetchall()


def test_a_push_under_a_name_of_its_own_commits_nothing_either(stage: Stage) -> None:
    """An application_name in DATABASE_URL hides no session: it is known by its connection."""
    assert stage.start().wait() == 0
    stage.environ["DATABASE_URL"] = f"{stage.url}?application_name=mine"
    # Without the option by which the server itself would notice that its client is gone.
    stage.environ["PGOPTIONS"] = "-c client_connection_check_interval=0"
    stage.push = python("push", "ready", "sql", "alter table rpg_heroes add column level int")
    with stage.connect() as blocker:
        blocker.execute(LOCK_TABLE)
        program = stage.start()
        child_of(program)
        until(lambda: waiting(stage), "the push waits for the table")
        assert [row[1] for row in stage.sessions()].count("mine") == 1

        program.signal(signal.SIGTERM)

        assert program.wait(timeout=5) == 143
        assert waiting(stage) == []
        assert program.one("push.sessions_ended")["count"] == 1
    assert_nothing_left(stage)


def test_sigterm_before_anything_is_imported(stage: Stage) -> None:
    """From its first moments on the process ends by SIGTERM, with its code."""
    program = stage.start()
    program.signal(signal.SIGTERM)

    assert program.wait(timeout=5) in (143, -15)
    assert "push.started" not in program.names()
