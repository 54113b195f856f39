"""How a push or seed ends, by itself, by the kernel or at its time, and what to do about it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from tests.process.test_rails import QUICK
from tests.support.npm import PG, installed
from tests.support.program import namespaces, python

if TYPE_CHECKING:
    from tests.support.stage import Stage

CODES = {"push": 7, "seed": 8}
POOLED = Path(__file__).parents[1] / "support" / "node" / "pooled.js"


@pytest.fixture(params=list(CODES))
def step(request: pytest.FixtureRequest) -> str:
    """Either of the two children."""
    return str(request.param)


def ends(stage: Stage, step: str, argv: list[str], **section: Any) -> dict[str, Any]:  # noqa: ANN401  a setting's
    """The failure of a start whose push or seed is this."""
    stage.push, stage.seed = (argv, ["true"]) if step == "push" else (MAKE, argv)
    stage.sections[step] = section
    program = stage.start()
    assert program.wait() == CODES[step], program.output
    assert not [each for each in stage.sessions() if "entrypoint" in each[1]]
    return program.one(f"{step}.failed")


MAKE = python("execute", "create table if not exists rpg_heroes (name text)")


def pooled(stage: Stage) -> list[str]:
    """node-postgres with a pool, in the stage's folder."""
    modules = stage.directory / "node_modules"
    if not modules.exists():
        modules.symlink_to(installed("pg", {"pg": PG}))
        shutil.copy(POOLED, stage.directory / "pooled.js")
    return ["node", "pooled.js"]


def test_a_pool_that_is_left_open(stage: Stage, step: str) -> None:
    """Node never exits then: its sessions are idle, and the remedy, tried, ends it."""
    argv = pooled(stage)
    failed = ends(stage, step, [*argv, "forget"], timeout=12)

    assert (
        f"the start ended the {step} command, which did not finish within 12 s: its "
        in failed["error"]
    )
    assert "sessions have been idle for" in failed["error"]
    assert "await pool.end()" in failed["remedy"]
    assert "timeout" not in failed["remedy"]
    assert failed["tail"] == ["done"]
    stage.sections.clear()
    setattr(stage, step, argv)
    assert stage.start().wait() == 0


def test_a_pool_that_is_left_open_is_told_before_the_end(stage: Stage) -> None:
    """What says nothing for a while, and only has idle sessions, is told of with the remedy."""
    stage.push = [*pooled(stage), "forget"]
    stage.sections["push"] = {"timeout": 8}
    program = stage.start(launcher=QUICK)

    assert program.wait() == 7
    waiting = program.all("push.stalled")[-1]
    assert "been idle for" in waiting["reason"]
    assert "await pool.end()" in waiting["remedy"]
    assert [each["state"] for each in waiting["sessions"]] == ["idle", "idle"]


def test_a_statement_that_takes_its_time(stage: Stage, step: str) -> None:
    """It is still at work at the end: the timeout is what to raise, and no text of it is told."""
    argv = python("push", "sql", "select pg_sleep(60), 'c4n4ry'")
    failed = ends(stage, step, argv, timeout=6)

    assert "its statement (SELECT) has been running for" in failed["error"]
    assert f"Raise {step}.timeout" in failed["remedy"]
    assert "c4n4ry" not in failed["error"] + failed["remedy"]


def test_a_transaction_that_nobody_ends(stage: Stage, step: str) -> None:
    """Idle in a transaction is no pool that was left open."""
    failed = ends(stage, step, python("push", "sql", "begin", "hang"), timeout=6)

    assert "it has been idle in a transaction for" in failed["error"]
    assert "commit or roll back" in failed["remedy"]


def test_sessions_of_which_the_server_tells_nothing(stage: Stage, step: str) -> None:
    """Where track_activities is off nothing is made up, and the start ends as it should."""
    with stage.server.connect() as connection:
        off = sql.SQL("alter role {} set track_activities = off")
        connection.execute(off.format(sql.Identifier(stage.user)))
    failed = ends(stage, step, python("push", "sql", "select 1", "hang"), timeout=6)

    assert failed["error"] == f"the start ended the {step} command, which did not finish within 6 s"
    assert f"raise {step}.timeout" in failed["remedy"]


def test_a_lock_of_a_live_service(stage: Stage, step: str) -> None:
    """Who is in the way is named, and the remedy, done, lets the next start go on."""
    stage.push, stage.seed = MAKE, ["true"]
    assert stage.start().wait() == 0
    stage.environ["ENTRYPOINT_FORCE"] = "push,seed"
    with stage.connect() as live:
        live.execute("set application_name = 'live-service'")
        live.execute("begin; lock rpg_heroes in access exclusive mode")
        failed = ends(stage, step, python("execute", "begin; lock rpg_heroes"), timeout=6)
        assert (
            "it waits for AccessExclusiveLock on rpg_heroes, and live-service (pid "
            in (failed["error"])
        )
        assert "pg_terminate_backend" in failed["remedy"]
    assert stage.start().wait() == 0


def test_nothing_on_the_server(stage: Stage, step: str) -> None:
    """What waits for something else than the server is told so."""
    failed = ends(stage, step, ["sh", "-c", "exec sleep 60"], timeout=2)

    assert "it has no session in the database" in failed["error"]
    assert "for another wait" in failed["remedy"]


@pytest.mark.parametrize(
    "told",
    [
        ("kill -9 $$", "was ended by signal 9", "another process killed it", "dmesg"),
        (
            "sh -c 'kill -9 $$'; exit $?",
            "exited with code 137",
            "another process killed it",
            "dmesg",
        ),
        ("kill -TERM $$", "was ended by signal 15", "another process ended it", "Find out which"),
        (
            "kill -SEGV $$",
            "was ended by signal 11",
            "SIGSEGV, the program crashed",
            "native module",
        ),
        ("sh -c 'kill -SEGV $$'; exit $?", "code 139", "the program crashed", "another C library"),
        ("sh -c 'kill -ILL $$'; exit $?", "code 132", "an instruction", "older CPUs"),
        ("kill -SYS $$", "signal 31", "seccomp profile", "Update Docker and libseccomp"),
        ("kill -BUS $$", "signal 7", "had mapped", "--shm-size"),
        ("no-such-migrate up", "code 127", "did not find", "add it to the image"),
        ("./plain", "code 126", "may not execute", "chmod +x"),
        ("exit 3", "exited with code 3", "", "Correct the error in its lines"),
        ("exit 255", "exited with code 255", "", "Correct the error in its lines"),
    ],
)
def test_a_child_that_is_ended(stage: Stage, step: str, told: tuple[str, ...]) -> None:
    """Each way has its cause and its remedy, also as shells and package managers tell of it."""
    script, how, what, remedy = told
    (stage.directory / "plain").write_text("")
    failed = ends(stage, step, ["sh", "-c", f"echo begun; {script}"])

    assert how in failed["error"]
    assert what in failed["error"]
    assert remedy in failed["remedy"]
    assert failed["tail"][0] == "begun"


def counted(stage: Stage, name: str, text: str) -> list[str]:
    """What gives a start the control groups of a container, with nothing in them but this file."""
    for folder in (stage.directory / "groups", stage.directory / "groups" / "pids"):
        folder.mkdir(parents=True)
        (folder / name).write_text(text)
    mount = 'mount --bind groups /sys/fs/cgroup && exec "$0" "$@"'
    return [*namespaces("--mount"), "sh", "-c", mount]


def test_a_pod_s_limit_of_processes(stage: Stage) -> None:
    """The kernel counts what it refuses in the container's group, and the limit is in the pod's."""
    through = counted(stage, "pids.events", "max 2\n")
    count = "echo max 3 | tee groups/pids.events groups/pids/pids.events"
    stage.push = ["sh", "-c", f"{count}; exit 2"]
    program = stage.start(through=through)

    assert program.wait() == 7, program.output
    failed = program.one("push.failed")
    assert "no visible limit, so its pod has one" in failed["error"]
    assert "podPidsLimit" in failed["remedy"]


def test_a_kill_that_nobody_counts(stage: Stage) -> None:
    """Where nothing tells whether the kernel killed for memory, nothing is said against it."""
    through = counted(stage, "pids.events", "max 0\n")
    stage.push = ["sh", "-c", "kill -9 $$"]
    program = stage.start(through=through)

    assert program.wait() == 7, program.output
    failed = program.one("push.failed")
    assert "for lack of memory, the kernel killed it" in failed["error"]
    assert "more memory" in failed["remedy"]


def test_a_child_that_is_killed_keeps_its_cause_beside_a_tool_s_words(stage: Stage) -> None:
    """A tool that was killed cannot say that it was done: the remedy is about what killed it."""
    words = "Reading config file 'drizzle.config.ts'"
    failed = ends(stage, "push", ["sh", "-c", f"echo {shlex.quote(words)}; kill -SEGV $$"])

    assert "drizzle-kit reported no success" in failed["error"]
    assert "native module" in failed["remedy"]


def test_node_s_own_limit(stage: Stage, step: str) -> None:
    """Out of heap is told with the option that raises it, which, raised, mends it."""
    script = "const a = []; for (let i = 0; i < 60; i++) a.push(new Array(1e5).fill(i)); "
    script += "require('fs').writeSync(1, 'enough\\n')"
    argv = ["node", "--max-old-space-size=20", "-e", script]
    failed = ends(stage, step, argv)

    assert "Node reached its own limit of the heap" in failed["error"]
    assert "NODE_OPTIONS=--max-old-space-size=MB" in failed["remedy"]
    if step == "seed":
        stage.seed = ["node", "-e", script]
        stage.environ["NODE_OPTIONS"] = "--max-old-space-size=200"
        assert stage.start().wait() == 0
