"""`entrypoint status`: what each database is like, and who is at work in it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from entrypoint.postgres import lock
from tests.operator.conftest import RPG, RPG_DB, SERVICES, create_role
from tests.support.program import python, until
from tests.support.stage import TENANT, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.operator.conftest import Operator

DEMO = "demo_db"
TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def stage(operator: Operator) -> Iterator[Stage]:
    """A registered service whose starts, one after the other, are proved needless."""
    name = f"owner_{operator.directory.name}"
    create_role(operator.server, name, "createdb")
    made = Stage(operator.directory, operator.server, DEMO, name, "its-password")
    made.environ |= {"ENTRYPOINT_RELEASE": "v1", **registry(operator)}
    yield made
    for program in made.started:
        if program.process.poll() is None:
            program.process.kill()
        program.wait()


def registry(operator: Operator) -> dict[str, str]:
    """The stage's service, and the superuser's default."""
    return operator.registry(("demo", DEMO, ["rpg_", "runs"]))


def row(operator: Operator, **environ: str) -> dict[str, Any]:
    """What status says of the stage's service."""
    answer = operator.run("status", "--json", environ={**registry(operator), **environ})
    assert answer.code == 0, answer.err
    [found] = answer.rows
    return found


def test_before_the_first_start(operator: Operator) -> None:
    """A database that is missing has a row that says so, which is no failure."""
    assert row(operator) == {
        "service": "demo",
        "database": DEMO,
        "exists": False,
        "size_bytes": None,
        "tables": None,
        "sessions": None,
        "last_push": None,
        "tenants": [],
        "drift": None,
        "holder": None,
        "failure": None,
    }
    assert "demo_db (missing)" in operator.run("status", environ=registry(operator)).out


def test_after_a_start(operator: Operator, stage: Stage) -> None:
    """The ledger's facts, size and tables; nobody has the lock, and nothing has drifted."""
    program = stage.start()
    assert program.wait() == 0, program.output

    found = row(operator)

    pushed = found.pop("last_push")
    assert TIME.fullmatch(pushed["at"])
    assert (pushed["release"], pushed["host"]) == ("v1", socket.gethostname())
    assert 0 < pushed["elapsed_s"] <= program.one("push.finished")["elapsed_s"]
    assert found.pop("size_bytes") == operator.execute(f"select pg_database_size('{DEMO}')")[0][0]
    assert found == {
        "service": "demo",
        "database": DEMO,
        "exists": True,
        "tables": 2,
        "sessions": 0,
        "tenants": [TENANT],
        "drift": False,
        "holder": None,
        "failure": None,
    }


def test_drift(operator: Operator, stage: Stage) -> None:
    """DDL by hand shows, for people and for machines, until the next start has pushed."""
    assert stage.start().wait() == 0
    operator.execute("create table rpg_by_hand (id int)", DEMO)

    assert row(operator)["drift"] is True
    assert "(drifted)" in operator.run("status", environ=registry(operator)).out

    assert stage.start().wait() == 0
    assert row(operator)["drift"] is False
    assert row(operator)["tables"] == 3


def test_who_pushes(operator: Operator, stage: Stage) -> None:
    """While a start pushes: its name, its session, since when; then the seed; then nobody."""
    seeding = stage.directory / "seeded"
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    stage.seed = python("seed", "{tenant_id}", "ready", "wait-for", str(seeding))
    program = stage.start()
    program.until("push.output", stream="stdout")

    found = row(operator)
    holder = found["holder"]
    [pid] = [
        pid
        for pid, name, *_ in stage.sessions()
        if re.fullmatch("entrypoint/demo/[^/]+", name) and pid == holder["pid"]
    ]
    assert holder["application_name"] == f"entrypoint/demo/{socket.gethostname()}"
    assert (holder["pid"], holder["client_addr"]) == (pid, "127.0.0.1")
    assert TIME.fullmatch(holder["since"])
    assert holder["doing"] == "push"
    assert found["sessions"] == 2  # the lock's and the push's
    assert found["last_push"] is found["drift"] is None
    shown = operator.run("status", environ=registry(operator)).out
    assert "push" in shown
    assert "entrypoint/demo/" in shown

    stage.gate.touch()
    program.until("seed.output", stream="stdout")
    assert row(operator)["holder"]["doing"] == "seed"
    seeding.touch()
    assert program.wait() == 0
    assert row(operator)["holder"] is None


def test_a_push_that_waits_for_a_table(operator: Operator, stage: Stage) -> None:
    """It says so, which is why nothing goes on."""
    assert stage.start().wait() == 0
    stage.environ["ENTRYPOINT_RELEASE"] = "v2"
    stage.push = python("push", "ready", "sql", "alter table rpg_heroes add column late int")
    with operator.server.connect(DEMO) as connection, connection.transaction():
        connection.execute("lock table rpg_heroes in access share mode")
        program = stage.start()
        blocked = "select 1 from pg_locks where not granted and relation is not null"
        until(lambda: operator.execute(blocked, DEMO), "the push waits")
        found = row(operator)
    assert program.wait() == 0

    assert found["holder"]["doing"] == "push, waiting for a lock"


def test_a_holder_that_does_nothing(operator: Operator) -> None:
    """Whoever it is, and whatever its name: between two steps."""
    operator.execute(f"create database {DEMO}")
    with operator.server.connect(DEMO) as connection, connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [lock.KEY])
        holder = row(operator)["holder"]
        assert holder["pid"] == connection.info.backend_pid
    assert (holder["application_name"], holder["doing"]) == ("", "between steps")
    assert holder["client_addr"] is None


def test_somebody_else_s_advisory_locks(operator: Operator) -> None:
    """Locks of another key, of a session or in another database are none of ours."""
    operator.execute(f"create database {DEMO}")
    with ExitStack() as stack:
        for name, query in (
            (DEMO, f"select pg_advisory_lock({lock.KEY + 1})"),
            (DEMO, "select pg_advisory_lock(1, 2)"),
            (RPG_DB, f"select pg_advisory_lock({lock.KEY})"),
        ):
            stack.enter_context(operator.server.connect(name)).execute(query.encode())
        assert row(operator)["holder"] is None


@pytest.mark.parametrize("who", ["superuser", "plain"])
def test_sessions(operator: Operator, who: str) -> None:
    """Clients' sessions without operators', also for a role that may not know more about them."""
    url = create_role(operator.server, f"counting_{who}")
    operator.execute(f"create database {DEMO}")
    environ = {"DATABASE_URL": url} if who == "plain" else {}
    operators = f"{operator.server.url(DEMO)}?application_name=entrypoint/operator"
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(operator.server.connect(DEMO))
        stack.enter_context(psycopg.connect(operators))
        assert row(operator, **environ)["sessions"] == 3
    with operator.server.connect() as connection:
        gone = f"select from pg_stat_activity where datname = '{DEMO}'"
        until(lambda: not connection.execute(gone.encode()).rowcount, "they are gone")
    assert row(operator, **environ)["sessions"] == 0


def test_a_row_for_each(operator: Operator) -> None:
    """In the registry's order, or of those that are named."""
    assert {r["service"]: r["database"] for r in operator.run("status", "--json").rows} == SERVICES
    lines = [line for line in operator.run("status").out.splitlines() if "-service" in line]
    assert [line.split()[:2] for line in lines] == [list(pair) for pair in SERVICES.items()]

    assert [r["service"] for r in operator.run("status", "--json", "--service", RPG).rows] == [RPG]


@pytest.mark.parametrize("text", ["entrypoint:{", 'entrypoint:{"v":9}', "words"])
def test_without_a_ledger(operator: Operator, text: str) -> None:
    """Nothing is known of pushes and drift, and nothing fails."""
    operator.execute(f"comment on database {RPG_DB} is '{text}'")

    [found] = operator.run("status", "--json", "--service", RPG).rows

    assert (found["last_push"], found["drift"], found["tenants"]) == (None, None, [])


def watch(operator: Operator, *words: str) -> subprocess.Popen[str]:
    """Start `status --watch 0.2`, to be read line by line."""
    argv = [sys.executable, "-I", "-m", "entrypoint", "status", "--watch", "0.2", *words]
    environ = {"DATABASE_URL": operator.url}
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, env=environ, stdout=pipe, stderr=pipe, text=True)


def seen(process: subprocess.Popen[str], word: str) -> None:
    """Block until a line of it has this word."""
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(word)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_watching(operator: Operator, signum: signal.Signals, code: int) -> None:
    """It prints again what is true now, until a signal ends it: 128+n, and no traceback."""
    with watch(operator, "--service", RPG) as process:
        seen(process, RPG)
        operator.execute(f"drop database {RPG_DB} with (force)")
        seen(process, "(missing)")
        operator.execute(f"create database {RPG_DB}")
        seen(process, "MB")
        process.send_signal(signum)
        _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
    assert signum.name in said


def test_watching_is_plain_in_a_pipe(operator: Operator) -> None:
    """Where nobody's terminal is, none is emptied."""
    with watch(operator, "--json", "--service", RPG) as process:
        seen(process, "}")
        seen(process, "{")
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert "\x1b" not in out


def test_nobody_watches_any_more(operator: Operator) -> None:
    """A closed pipe ends it, without a traceback."""
    with watch(operator, "--service", RPG) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        try:
            assert process.wait(timeout=5) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


@pytest.mark.parametrize("words", [["verify"], ["status", "--json"]])
def test_a_reader_that_has_seen_enough(operator: Operator, words: list[str]) -> None:
    """`| head -1` ends it soon, without a traceback."""
    operator.execute("create table rpg_x (id int)")
    command = " ".join([sys.executable, "-I", "-m", "entrypoint", *words])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -1"],
        env={"DATABASE_URL": operator.url, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == (9 if words == ["verify"] else 0)
    assert done.stderr == b""
    assert done.stdout.count(b"\n") == 1
