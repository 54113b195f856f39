"""What a push and a seed are given, what is told while they wait, and how a seed is judged."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from bench.proxy import Proxy
from tests.support.program import PROGRAMS, Program, python, until
from tests.support.server import Endpoint
from tests.support.stage import TENANT, Stage, service

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = (str(PROGRAMS / "quick.py"),)

SAY = ["say-environ", "CI", "say-environ", "NO_COLOR"]


def lines(program: Program, step: str = "push") -> list[str]:
    """What a child said."""
    return [event["line"] for event in program.all(f"{step}.printed")]


def given(program: Program) -> dict[str, str]:
    """The environment that `programs/service.py` says it has."""
    entries = [bytes.fromhex(entry).decode() for entry in json.loads(program.stdout)["environ"]]
    return dict(entry.split("=", 1) for entry in entries)


def test_a_push_is_told_that_nobody_looks(stage: Stage) -> None:
    """CI and NO_COLOR are the push's, not the seed's and not the service's."""
    stage.push = python("push", *SAY)
    stage.seed = python("seed", "{tenant_id}", *SAY)
    program = stage.start(*service("exit", "0"))

    assert program.wait() == 0
    assert lines(program) == ["CI 1", "NO_COLOR 1"]
    assert lines(program, "seed")[1:] == ["CI is not set", "NO_COLOR is not set"]
    assert not {"CI", "NO_COLOR", "PGAPPNAME", "PGOPTIONS"} & given(program).keys()


def test_the_image_decides_about_ci(stage: Stage) -> None:
    """What it sets, empty or not, reaches push, seed and service as it is."""
    stage.environ |= {"CI": "false", "NO_COLOR": ""}
    stage.push = python("push", *SAY)
    stage.seed = python("seed", "{tenant_id}", *SAY)
    program = stage.start(*service("exit", "0"))

    assert program.wait() == 0
    assert lines(program) == lines(program, "seed")[1:] == ["CI false", "NO_COLOR "]
    assert given(program).items() >= {("CI", "false"), ("NO_COLOR", "")}


def test_options_stand_before_the_images(stage: Stage) -> None:
    """Of two settings of one option the later wins, and so the image's; each child has its mark."""
    stage.environ["PGOPTIONS"] = "-c lock_timeout=9s -c statement_timeout=8s"
    stage.sections["push"] = {"lock_timeout": 7}
    query = "do $$ begin raise exception '%', current_setting('lock_timeout'); end $$"
    stage.push = python("push", "say-options", "tell", query)
    stage.seed = python("seed", "{tenant_id}", "say-options")
    program = stage.start()
    program.wait()

    said = lines(program)
    assert said[0].startswith("PGOPTIONS -c lock_timeout=7000 ")
    assert said[0].endswith(" -c lock_timeout=9s -c statement_timeout=8s")
    assert said[1] == "error: 9s"
    seeds = lines(program, "seed")[1]
    mark = r"entrypoint\.push=(push|seed)-[0-9a-f]{6}\b"
    assert re.sub(mark, "", seeds) == re.sub(mark, "", said[0])
    assert [re.findall(mark, line) for line in (said[0], seeds)] == [["push"], ["seed"]]


def test_a_push_waits_for_a_table_no_longer_than_its_lock_timeout(stage: Stage) -> None:
    """It is not held up for ever, and holds up nobody for ever; the server's word is quoted."""
    stage.sections["push"] = {"lock_timeout": 0.1}
    words = ["say", "Reading config file", "wait-for", str(stage.gate)]
    stage.push = python("push", *words, "tell", "alter table rpg_heroes add column level int")
    program = stage.start()
    program.until("push.printed")
    with blocker(stage):
        stage.gate.touch()
        assert program.wait() == 7
    assert "canceling statement due to lock timeout" in program.one("push.failed")["error"]


def blocker(stage: Stage) -> closing[psycopg.Connection[Any]]:
    """Somebody who holds the service's table."""
    url = stage.server.url(stage.database)
    connection = psycopg.connect(url, autocommit=True, application_name="a report")
    connection.execute("begin; lock table rpg_heroes in access exclusive mode")
    return closing(connection)


@pytest.mark.parametrize("query", ["", "?application_name=mine"])
def test_a_silent_push_that_waits_for_somebody(stage: Stage, query: str) -> None:
    """Again and again it is told which lock it waits for, and who has it."""
    stage.environ["DATABASE_URL"] = f"{stage.url}{query}"
    words = ["ready", "wait-for", str(stage.gate)]
    stage.push = python("push", *words, "sql", "alter table rpg_heroes add column level int")
    program = stage.start(launcher=QUICK)
    program.until("push.printed")
    with blocker(stage) as other:
        stage.gate.touch()
        until(lambda: len(blocked(program)) > 1, "it is told twice")
        pid = other.info.backend_pid
    first, second = blocked(program)[:2]

    for event in (first, second):
        [waiting], [holder] = event["sessions"], event["blocked_by"]
        assert event["level"] == "warning"
        assert waiting["waits_for"].startswith("AccessExclusiveLock on ")
        assert waiting["waits_for"].endswith("rpg_heroes")
        assert (holder["pid"], holder["application_name"]) == (pid, "a report")
        assert "pg_terminate_backend" in event["remedy"]
    assert second["silent_s"] > first["silent_s"]
    assert program.wait() == 0


def blocked(program: Program) -> list[dict[str, Any]]:
    """The events that name who is in the way."""
    return [event for event in program.all("push.stalled") if "blocked_by" in event]


@pytest.mark.parametrize("step", ["push", "seed"])
def test_a_child_that_is_merely_silent(stage: Stage, step: str) -> None:
    """Its sessions are told again and again, and nobody is blamed."""
    words = ["ready", "wait-for", str(stage.gate), "say", "done"]
    setattr(stage, step, [*getattr(stage, step), *words])
    program = stage.start(launcher=QUICK)
    until(lambda: len(silences(program, step)) > 1, "it is told twice")
    stage.gate.touch()

    assert program.wait() == 0
    for event in silences(program, step)[:2]:
        assert [session["state"] for session in event["sessions"]] == ["idle"]
        assert "has been idle" in event["reason"]
        assert "pool.end()" in event["remedy"]
        assert "blocked_by" not in event


def silences(program: Program, step: str) -> list[dict[str, Any]]:
    """The events of a child's silence after its line "ready"."""
    events = list(program.events)
    ready = (i for i, event in enumerate(events) if event.get("line", "").startswith("ready"))
    found = events[next(ready, len(events)) :]
    return [event for event in found if event["event"] == f"{step}.stalled"]


def failed_seed(stage: Stage) -> dict[str, Any]:
    """Exit 8, no service, and nothing recorded, so that the next start seeds again."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    programs = []
    for step in ("push.finished", "push.skipped"):
        program = stage.start(*service())
        assert program.wait() == 8, program.output
        assert not {"seed.finished", "handoff.executed"} & set(program.names())
        assert program.one("seed.started")["reason"] == "first"
        program.one(step)
        programs.append(program)
    return programs[-1].one("seed.failed")


def test_a_seed_that_exits_0_with_an_error(stage: Stage) -> None:
    """The tool's word outweighs its exit code, and is quoted with the way to hear it by code."""
    problem = 'psql:seed.sql:3: ERROR:  relation "rpg_item" does not exist'
    stage.seed = python("seed", "{tenant_id}", "complain", problem)
    failure = failed_seed(stage)

    assert failure["error"] == (
        f"the seed command exited with code 0: psql reported an error: {problem}"
    )
    assert (failure["returncode"], failure["tail"][-1]) == (0, problem)
    assert "ON_ERROR_STOP=1" in failure["remedy"]


CHECK = "select from rpg_heroes where tenant_id = %(tenant_id)s"


def test_a_seed_that_makes_no_row(stage: Stage) -> None:
    """Exit code 0 is no tenant where `seed.check` can say so."""
    stage.sections["seed"] = {"check": CHECK}
    stage.seed = python("seed", "00000000-0000-4000-8000-000000000001")
    failure = failed_seed(stage)

    assert (failure["returncode"], failure["check"]) == (0, "found no row")
    assert "seed.check finds no row" in failure["error"]

    stage.seed = python("seed", "{tenant_id}")
    program = stage.start()
    assert program.wait() == 0
    assert program.one("seed.finished")["check"] == "found a row"
    with stage.connect() as connection:
        query = "select from rpg_heroes where tenant_id = %s"
        assert connection.execute(query, [TENANT]).rowcount == 1


@pytest.fixture
def warm(stage: Stage) -> Iterator[Stage]:
    """A stage whose next start has nothing to do."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    assert stage.start().wait() == 0
    yield stage
    assert stage.started[-1].one("push.skipped")["reason"] == "unchanged"
    assert stage.started[-1].one("seed.skipped")["reason"] == "seeded"


class Counter(Proxy):
    """The benchmark's proxy, for clients that may go while it is told that the server went."""

    def _pass_on(self, link: Any, *, from_client: bool) -> None:  # noqa: ANN401  the proxy's own
        if link.client.fileno() >= 0:
            super()._pass_on(link, from_client=from_client)


def round_trips(stage: Stage) -> int:
    """How many round trips the next start makes in its only connection."""
    with Counter(stage.server.host, stage.server.port) as proxy:
        through = Endpoint("127.0.0.1", proxy.port, stage.user, stage.password, "sslmode=disable")
        stage.environ["DATABASE_URL"] = through.url(stage.database)
        assert stage.start().wait() == 0
    del stage.environ["DATABASE_URL"]
    assert proxy.connections == 1
    return proxy.round_trips


def test_a_warm_start_makes_one_round_trip(warm: Stage) -> None:
    """What judges a push costs nothing where there is none: one connection, one question."""
    assert round_trips(warm) == 1


ELSEWHERE = [
    "insert into rpg_heroes values (gen_random_uuid(), 'x')",
    "truncate rpg_heroes",
    "vacuum full rpg_heroes",
    "analyze",
    "reindex table rpg_heroes",
    "grant select on rpg_heroes to public",
    "comment on table rpg_heroes is 'x'",
    "create publication told for all tables",
    "create temporary table t (id serial primary key, s text default 'x', check (id > 0))",
]


def test_what_goes_on_elsewhere_costs_no_round_trip(warm: Stage) -> None:
    """Rows, statistics, rights and temporary tables are no part of what a start compares."""
    with closing(psycopg.connect(warm.server.url(warm.database), autocommit=True)) as connection:
        for statement in ELSEWHERE:
            connection.execute(statement)
        assert round_trips(warm) == 1


STATES = {
    "there and back": "alter table rpg_heroes rename to x; alter table x rename to rpg_heroes",
    "an older release's ledger": """
        do $$ begin execute format('comment on database %I is %L', current_database(), (
          select regexp_replace(shobj_description(oid, 'pg_database'), ',"seen":{[^}]*}', '')
          from pg_database where datname = current_database())); end $$
        """,
    "the same words again": """
        do $$ begin execute format('comment on database %I is %L', current_database(), (
          select shobj_description(oid, 'pg_database') from pg_database
          where datname = current_database())); end $$
        """,  # as a restored dump has them
    "another owner's database": """
        do $$ begin execute format('grant %I to %I', current_user, pg_get_userbyid(datdba))
          from pg_database where datname = current_database();
        execute format('alter database %I owner to %I', current_database(), current_user); end $$
        """,
}


@pytest.mark.parametrize("name", STATES)
def test_a_second_round_trip_proves_what_the_first_cannot(warm: Stage, name: str) -> None:
    """A schema that may have changed, and has not, costs a question and no work."""
    with closing(psycopg.connect(warm.server.url(warm.database), autocommit=True)) as connection:
        connection.execute(STATES[name])
    assert [round_trips(warm) for _ in range(2)] == [2, 2]


def test_a_neighbour_in_the_database(warm: Stage) -> None:
    """Whichever service pushed last, its entry proves the starts of both; both see a change."""
    pushes = {"demo": warm.push, "other": python("push", "sql", "create table if not exists n ()")}

    def start(service: str) -> str:
        warm.top["service"], warm.push = service, pushes[service]
        assert warm.start().wait() == 0
        names = warm.started[-1].names()
        [event] = [name for name in ("push.started", "push.skipped") if name in names]
        return str(warm.started[-1].one(event)["reason"])

    assert [start(each) for each in ("other", "demo", "other")] == ["first", "drift", "unchanged"]
    assert round_trips(warm) == 1
    with closing(psycopg.connect(warm.url, autocommit=True)) as connection:
        connection.execute("alter table rpg_heroes add more int")
    assert [start(each) for each in ("other", "demo")] == ["drift", "drift"]
    for each in ("other", "demo"):
        assert start(each) == "unchanged"
        assert round_trips(warm) == 1


def test_a_column_that_is_closed_to_the_role(warm: Stage) -> None:
    """Who may not see when the comment was written writes it without a state."""
    with closing(psycopg.connect(warm.server.url(warm.database), autocommit=True)) as connection:
        connection.execute(
            "revoke select on pg_shdescription from public;"
            "grant select (objoid, classoid, description) on pg_shdescription to public"
        )
        try:
            warm.environ["ENTRYPOINT_RELEASE"] = "v2"
            assert warm.start().wait() == 0
            assert "ledger.not_written" not in warm.started[-1].names()
            assert warm.start().wait() == 0
            assert "lock.started" not in warm.started[-1].names()
        finally:
            connection.execute("grant select on pg_shdescription to public")


def test_a_new_release_with_nothing_to_push_leaves_a_state(warm: Stage) -> None:
    """The next start proves it in one round trip, whatever became of the state before."""
    warm.sections["push"] = {"inputs": ["push.txt"]}
    warm.sections["seed"] = {"inputs": ["push.txt"]}
    (warm.directory / "push.txt").write_text("v1")
    assert warm.start().wait() == 0
    with closing(psycopg.connect(warm.server.url(warm.database), autocommit=True)) as connection:
        connection.execute(STATES["there and back"])
        connection.execute(STATES["the same words again"])
    assert round_trips(warm) == 2
    warm.environ["ENTRYPOINT_RELEASE"] = "v2"
    assert warm.start().wait() == 0
    assert warm.started[-1].one("push.skipped")["reason"] == "unchanged"
    assert round_trips(warm) == 1


def test_a_function_that_is_closed_to_the_role(warm: Stage) -> None:
    """Who may not compute the state starts, pushes and records without it."""
    with closing(psycopg.connect(warm.server.url(warm.database), autocommit=True)) as connection:
        connection.execute("revoke execute on function hashtextextended from public")
    for _ in range(2):
        assert warm.start().wait() == 0
        assert warm.started[-1].one("push.skipped")["reason"] == "unchanged"
        warm.environ["ENTRYPOINT_FORCE"] = "push"
        assert warm.start().wait() == 0
        assert "ledger.not_written" not in warm.started[-1].names()
        del warm.environ["ENTRYPOINT_FORCE"]
    assert warm.start().wait() == 0


def test_kinds_that_only_the_fingerprint_knows(warm: Stage) -> None:
    """With a collation of one's own each start asks for the fingerprint, and sees its change."""
    with closing(psycopg.connect(warm.server.url(warm.database), autocommit=True)) as connection:
        connection.execute('create collation own from "C"')
        assert warm.start().wait() == 0
        assert warm.started[-1].one("push.started")["reason"] == "drift"
        assert round_trips(warm) == 2

        connection.execute("alter collation own rename to mine")
        assert warm.start().wait() == 0
        assert warm.started[-1].one("push.started")["reason"] == "drift"
        assert round_trips(warm) == 2


JUDGES = [
    "process.child",
    "postgres.blockers",
    "postgres.guard",
    "postgres.loss",
    "postgres.refusal",
    "postgres.snapshot",
    "start.program",
    "start.under_lock",
    "start.push",
    "start.seed",
    "start.verdict",
    "start.tool_output",
    "config.tools",
]


def test_a_warm_start_imports_no_judge(warm: Stage) -> None:
    """Nor psycopg, what runs a child, or a codec; one that pushes imports all of the judges."""
    launcher = ("-X", "importtime", "-m", "entrypoint")
    program = warm.start(launcher=launcher)
    assert program.wait() == 0
    loaded = imported(program)
    assert "entrypoint.start.plan" in loaded
    assert [name for name in JUDGES if f"entrypoint.{name}" in loaded] == []
    assert {"psycopg", "structlog", "asyncio", "pathlib", "encodings.idna"} & loaded == set()
    assert "hashlib" not in loaded
    assert "encodings.utf_8_sig" not in loaded

    warm.environ["ENTRYPOINT_FORCE"] = "push,seed"
    working = warm.start(launcher=launcher)
    assert working.wait() == 0
    assert {f"entrypoint.{name}" for name in JUDGES} <= imported(working)
    del warm.environ["ENTRYPOINT_FORCE"]
    assert warm.start().wait() == 0


def imported(program: Program) -> set[str]:
    """The modules that `-X importtime` tells."""
    said = program.stderr.decode().splitlines()
    return {line.rpartition("|")[2].strip() for line in said if line.startswith("import time:")}
