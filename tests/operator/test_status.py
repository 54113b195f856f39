"""`entrypoint status`: what each database is like, and who is at work in it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from entrypoint.operator import report, status
from entrypoint.postgres import lock, transfers
from entrypoint.postgres.sql import load_sql
from tests.operator.conftest import RPG, RPG_DB, SERVICES, create_role, put_aside
from tests.support.program import python, until
from tests.support.stage import TENANT, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.operator.conftest import Operator

DEMO = "demo_db"
IDLE: dict[str, Any] = {
    "oldest_transaction": None,
    "transfer": None,
    "quarantines": [],
    "put_aside": [],
    "previews": [],
    "concerns": [],
}
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
        "waiting": None,
        **IDLE,
        "concerns": ["missing"],
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
        "waiting": 0,
        **IDLE,
        "failure": None,
    }
    shown = operator.run("status", environ=registry(operator)).out
    assert re.search(r"\d+ (s|min) ago +v1 +\d+\.\d s ", shown)


def test_drift(operator: Operator, stage: Stage) -> None:
    """DDL by hand shows, for people and for machines, until the next start has pushed."""
    assert stage.start().wait() == 0
    operator.execute("create table rpg_by_hand (id int)", DEMO)

    assert row(operator)["drift"] is True
    assert row(operator)["concerns"] == ["drifted"]
    assert " drifted " in operator.run("status", environ=registry(operator)).out

    assert stage.start().wait() == 0
    assert row(operator)["drift"] is False
    assert row(operator)["tables"] == 3


def test_who_pushes(operator: Operator, stage: Stage) -> None:
    """While a start pushes: its name, its session, since when; then the seed; then nobody."""
    seeding = stage.directory / "seeded"
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    stage.seed = python("seed", "{tenant_id}", "ready", "wait-for", str(seeding))
    program = stage.start()
    program.until("push.printed", stream="stdout")

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
    program.until("seed.printed", stream="stdout")
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


def test_who_waits_and_for_how_long(operator: Operator) -> None:
    """How many sessions wait for a lock, and the transaction that began first, as it is called."""
    operator.execute("create table rpg_x (id int)", RPG_DB)
    with ExitStack() as stack:
        first = stack.enter_context(operator.server.connect(RPG_DB))
        pid = first.info.backend_pid
        first.execute("set application_name = 'a worker'")
        stack.enter_context(first.transaction())
        first.execute("lock table rpg_x")
        url = operator.server.url(RPG_DB)
        with psycopg.connect(url, application_name="waiter", autocommit=True) as other:
            thread = threading.Thread(target=lambda: other.execute("select from rpg_x"))
            thread.start()
            query = "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
            until(lambda: operator.execute(query), "it waits")
            [found] = operator.run("status", "--json", "--service", RPG).rows
            shown = operator.run("status", "--service", RPG).out
            waits = operator.execute(load_sql("operator/waiting_sessions").replace("%s", "0"))
            stack.close()
            thread.join()
    assert found["waiting"] == 1
    assert found["concerns"] == []
    assert waits == [(RPG_DB, [1, True])]
    oldest = found["oldest_transaction"]
    assert (oldest["application_name"], oldest["pid"]) == ("a worker", pid)
    assert TIME.fullmatch(oldest["since"])
    assert re.search(rf"  1  a worker, pid {pid}, for \d+ s$", shown, re.MULTILINE)


def test_a_transfer_and_what_it_keeps(stranger: Operator) -> None:
    """Who is at work, then the schema in postgres and what is marked as put aside, no mere name."""
    stranger.execute("create table rpg_x (id int)")
    key = transfers.target_key(RPG_DB)
    with stranger.server.connect() as connection:
        connection.execute("set application_name = 'entrypoint/operator'")
        connection.execute("select pg_advisory_lock(%s)", [key])
        [found] = stranger.run("status", "--json", "--service", RPG).rows
        assert found["transfer"]["pid"] == connection.info.backend_pid
        assert not found["exists"]
    moved = stranger.run(
        "transfer", RPG, "--yes", environ={"PG_BINDIR": str(stranger.server.pg_bin)}
    )
    assert moved.code == 0, moved.err
    put_aside(stranger.server, RPG_DB, f"{RPG_DB}__undone")
    stranger.execute(f"create database {RPG_DB}__replaced")
    [found] = stranger.run("status", "--json", "--service", RPG).rows
    assert found["transfer"] is None
    [kept] = found["quarantines"]
    schema = kept["name"]
    assert kept["database"] == "postgres"
    assert stranger.execute(f"select '{schema}'::regnamespace::oid::int8")
    assert found["put_aside"] == [f"{RPG_DB}__undone"]
    shown = stranger.run("status", "--service", RPG).out
    assert f"schema {schema} in postgres" in shown
    assert f"Run entrypoint transfer {RPG} --drop-aside." in shown
    assert found["concerns"] == ["kept"]
    removed = stranger.run("transfer", RPG, "--drop-aside", "--yes")
    assert removed.code == 0, removed.err
    dropped = stranger.run("transfer", RPG, "--drop-quarantine", "--yes")
    assert dropped.code == 0, dropped.err
    [found] = stranger.run("status", "--json", "--service", RPG).rows
    assert (found["quarantines"], found["put_aside"]) == ([], [])


def test_a_quarantine_in_a_service_s_own_database(operator: Operator) -> None:
    """It is kept as one in postgres is; the lines of status and verify remove it."""
    sso = "gaqno_sso_db"
    operator.execute("create table rpg_x (id int); insert into rpg_x values (1)", sso)
    tools = {"PG_BINDIR": str(operator.server.pg_bin)}
    operator.execute(f"drop database {RPG_DB}")
    moved = operator.run("transfer", RPG, "--from", sso, "--yes", environ=tools)
    assert moved.code == 0, moved.err
    data = operator.run("status", "--fail", "--json")
    assert data.code == 9
    [row] = [each for each in data.rows if each["quarantines"]]
    [kept] = row["quarantines"]
    assert (row["service"], kept["database"], row["concerns"]) == (RPG, sso, ["kept"])
    line = f"entrypoint transfer {RPG} --from {sso} --drop-quarantine"
    assert f"Run {line}, or --undo." in operator.run("status").out
    [found] = operator.run("verify", "--json").findings
    assert found["remedy"] == f"Run {line} once you no longer need it, or run it with --undo."
    dropped = operator.run(*line.split()[1:], "--yes")
    assert dropped.code == 0, dropped.err
    assert operator.run("status", "--fail").code == 0


def test_a_quarantine_seen_from_another_maintenance_database(operator: Operator) -> None:
    """It is found in postgres from wherever the databases are listed."""
    note = json.dumps({"service": RPG, "database": "d", "origin": "public", "at": "2026"})
    operator.execute(f"create schema moved; comment on schema moved is 'entrypoint moved: {note}'")
    elsewhere = {"ENTRYPOINT_MAINTENANCE_DATABASE": "template1"}
    [row] = operator.run("status", "--json", "--service", RPG, environ=elsewhere).rows
    assert row["quarantines"] == [{"database": "postgres", "name": "moved"}]


DAMAGE = {"what": "index rpg_i", "rows": 0, "fingerprint": "f", "release": None, "at": "2026"}


def test_failing_for_ci(operator: Operator) -> None:
    """Exit 9 for what wants a person, said in words and as data; without --fail it is 0."""
    words = "status", "--service", RPG
    assert operator.run(*words, "--fail").code == 0
    text = json.dumps({"v": 2, "pushes": [], "seeds": {}, "damages": [DAMAGE]})
    operator.execute(f"comment on database {RPG_DB} is $$entrypoint:{text}$$")
    put_aside(operator.server, RPG_DB, f"{RPG_DB}__undone")
    assert operator.run(*words).code == 0
    found = operator.run(*words, "--fail")
    assert found.code == 9
    assert found.out.splitlines()[-1] == f"{RPG} needs attention: damaged, kept"
    assert found.err == ""
    data = operator.run(*words, "--fail", "--json")
    assert (data.code, data.rows[0]["concerns"]) == (9, ["damaged", "kept"])
    assert operator.run("status", "--fail", "--service", "gaqno-sso-service").code == 0
    operator.execute(f"alter database {RPG_DB} allow_connections false")
    assert operator.run(*words, "--fail").code == 5
    operator.execute(f"alter database {RPG_DB} allow_connections true")


def test_watching_until_something_wants_a_person(operator: Operator) -> None:
    """With --fail the first answer that has a concern is the last, and its code is the watch's."""
    with watch(operator, "--fail", "--service", RPG) as process:
        seen(process, RPG)
        put_aside(operator.server, RPG_DB, f"{RPG_DB}__undone")
        out, said = process.communicate(timeout=60)
    assert process.returncode == 9
    assert "needs attention: kept" in out
    assert said == ""


@pytest.mark.parametrize(("minutes", "concerns"), [(59, []), (61, ["transaction"])])
def test_a_transaction_is_a_concern_after_an_hour(minutes: int, concerns: list[str]) -> None:
    """By the server's clock, and not before."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    since = (at - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    work = report.Work(application_name="", pid=1, since=since)
    found = report.ServiceStatus(service="x", database="x", exists=True, oldest_transaction=work)
    said = status._concerns(found, at.isoformat(), damaged=False, waits=False)  # noqa: SLF001  pure
    assert [*said] == concerns


def test_sorting(operator: Operator) -> None:
    """By name, size or age of the last push, in the table and in JSON; else as registered."""
    push = {
        "fingerprint": "f",
        "catalog": "c",
        "releases": [],
        "host": "h",
        "elapsed_s": 1,
        "service": None,
        "older": False,
    }
    for name, at in ((RPG_DB, "2026-01-01T00:00:00Z"), ("gaqno_ai_db", "2025-01-01T00:00:00Z")):
        text = json.dumps({"v": 2, "pushes": [{**push, "at": at}], "seeds": {}})
        operator.execute(f"comment on database {name} is $$entrypoint:{text}$$")
    operator.execute("create table x as select generate_series(1, 100000)", "gaqno_pdv_db")

    def order(*words: str) -> list[str]:
        data = [each["database"] for each in operator.run("status", "--json", *words).rows]
        shown = operator.run("status", *words).out
        lines = [line.split()[1] for line in shown.splitlines() if "-service " in line]
        assert lines == data
        return data

    assert order() == order("--sort", "registry") == [*SERVICES.values()]
    assert order("--sort", "name") == [SERVICES[name] for name in sorted(SERVICES)]
    assert order("--sort", "size")[0] == "gaqno_pdv_db"
    assert order("--sort", "age")[-2:] == ["gaqno_ai_db", RPG_DB]
    assert operator.run("status", "--sort", "rows").code == 2


def test_a_row_for_each(operator: Operator) -> None:
    """In the registry's order, or of those that are named."""
    assert {r["service"]: r["database"] for r in operator.run("status", "--json").rows} == SERVICES
    lines = [line for line in operator.run("status").out.splitlines() if "-service" in line]
    assert [line.split()[:2] for line in lines] == [list(pair) for pair in SERVICES.items()]

    assert [r["service"] for r in operator.run("status", "--json", "--service", RPG).rows] == [RPG]


FOREVER = (
    '"fingerprint":"f","catalog":"c","releases":[],"host":"h","at":"2026-01-01T00:00:00Z",'
    f'"elapsed_s":{10**400},"service":null,"older":false'
)
"""What is said of a push that took longer than a float can tell."""


@pytest.mark.parametrize(
    "text",
    [
        "entrypoint:{",
        'entrypoint:{"v":9}',
        "words",
        f'entrypoint:{{"v":2,"pushes":[{{{FOREVER}}}],"seeds":{{}}}}',
    ],
    ids=["half", "later", "words", "forever"],
)
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


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_watching(operator: Operator, signum: signal.Signals, code: int) -> None:
    """It prints again what is true now, until Ctrl-C ends it in silence, or another signal."""
    with watch(operator, "--service", RPG) as process:
        seen(process, RPG)
        operator.execute(f"drop database {RPG_DB} with (force)")
        seen(process, "(missing)")
        operator.execute(f"create database {RPG_DB}")
        seen(process, "MB")
        process.send_signal(signum)
        _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert [signum.name in line for line in said.splitlines()] == [True] * (code > 0)


def test_watching_outlives_the_server(stranger: Operator) -> None:
    """A server that goes and comes back is told of once, and looked at again."""
    with watch(stranger, "--service", RPG) as process:
        seen(process, RPG)
        stranger.server.restart()
        seen(process, RPG)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert len(said.splitlines()) <= 1


def test_watching_a_server_that_is_not_there(stranger: Operator) -> None:
    """A first look that fails is a failure, not something to wait for."""
    stranger.server.close()
    with watch(stranger) as process:
        assert process.wait(timeout=20) == 4


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
