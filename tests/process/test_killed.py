"""A start that is killed without a word takes its push along, wherever that went."""

from __future__ import annotations

import shlex
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.process.test_signals import child_of
from tests.support.container import descendants
from tests.support.program import alive, python, until

if TYPE_CHECKING:
    from tests.support.program import Program
    from tests.support.stage import Stage

GO_ON = ["wait-for", "never"]


def watchdog(program: Program) -> int:
    """The pid of the process that looks after the child, a copy of the start."""

    def argv(pid: int) -> bytes:
        return Path(f"/proc/{pid}/cmdline").read_bytes()

    start = program.process.pid
    [found] = [pid for pid in descendants(start) if argv(pid) == argv(start)]
    return found


def kill(program: Program) -> list[int]:
    """SIGKILL to the start alone; the pids of what it had started, all of which are gone soon."""
    left = descendants(program.process.pid)
    program.signal(signal.SIGKILL)
    # Nothing that is left holds its output open.
    assert program.wait() == -9
    until(lambda: not any(map(alive, left)), f"{left} are gone", timeout=10)
    return left


def tables(stage: Stage) -> int:
    with stage.connect() as connection:
        row = connection.execute("select count(*) from pg_class where relkind = 'r'").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("command", ["run", "prepare"])
@pytest.mark.parametrize("through", ["nothing", "a shell", "a shell that is deaf"])
def test_a_killed_start_takes_its_push_along(stage: Stage, command: str, through: str) -> None:
    """The push and its server sessions are gone in seconds; the next start does its work."""
    push = python("push", "ready", *(["ignore-sigterm"] if "deaf" in through else []), *GO_ON)
    stage.push = push if through == "nothing" else ["sh", "-c", f"{shlex.join(push)}; exit 1"]
    program = stage.start(command=command)
    child = child_of(program)

    left = kill(program)

    assert child in left
    until(lambda: stage.sessions() == [], "its sessions are gone", timeout=10)
    assert stage.locks() == 0
    stage.push = python("push")
    assert stage.start(command=command).wait() == 0


def test_a_killed_start_takes_a_seed_along(stage: Stage) -> None:
    """What holds for the push holds for the seed."""
    stage.seed = python("seed", "{tenant_id}", "ready", *GO_ON)
    program = stage.start()
    lines = partial(program.all, "seed.printed")
    until(lambda: any("ready" in event["line"] for event in lines()), "the seed is at it")

    assert len(kill(program)) == 2
    until(lambda: stage.sessions() == [], "its sessions are gone", timeout=10)


def test_a_killed_start_takes_along_who_left_the_group(stage: Stage, tmp_path: Path) -> None:
    """A daemon with a session of its own goes too, and writes nothing more."""
    announced = tmp_path / "daemon"
    stage.push = python("push", "escape", str(announced), "ready", *GO_ON)
    program = stage.start(command="prepare")
    child_of(program)
    daemon = int(announced.read_text().split()[0])

    assert daemon not in kill(program)
    until(lambda: not alive(daemon), "the daemon is gone", timeout=10)
    until(lambda: stage.sessions() == [], "its sessions are gone", timeout=10)
    before = tables(stage)
    stage.push = python("push")
    assert stage.start(command="prepare").wait() == 0
    assert tables(stage) == before


def test_the_watchdog_has_nothing_but_its_pipe(stage: Stage) -> None:
    """No connection, no output: whoever waits for the start's end does not wait for it."""
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    program = stage.start()
    child_of(program)
    pid = watchdog(program)
    [pipe] = [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()]
    stage.gate.touch()

    assert str(pipe).startswith("pipe:")
    assert program.wait() == 0, program.output


@pytest.mark.parametrize("signals", [1, 2])
def test_no_watchdog_outlives_a_start_that_is_ended(stage: Stage, signals: int) -> None:
    """One SIGTERM or two end the push as ever, and nobody is left."""
    deaf = ["ignore-sigterm"] if signals == 2 else []
    stage.push = python("push", *deaf, "ready", *GO_ON)
    program = stage.start()
    child = child_of(program)
    pid = watchdog(program)
    program.signal(signal.SIGTERM)
    if signals == 2:
        with pytest.raises(AssertionError, match="not within"):
            until(lambda: not alive(child), "the child survives the first", timeout=0.5)
        program.signal(signal.SIGTERM)

    assert program.wait(timeout=5) == 143
    assert not alive(child)
    assert not alive(pid)
    assert stage.sessions() == []


def test_the_service_inherits_no_watchdog(stage: Stage) -> None:
    """After a push and a seed the service has no child, not even a zombie."""
    program = stage.start("sleep", "60")
    program.until("handoff.executed")
    comm = Path(f"/proc/{program.process.pid}/comm")
    until(lambda: comm.read_text() == "sleep\n", "it is the service")

    assert descendants(program.process.pid) == []
    program.process.kill()
    program.wait()
