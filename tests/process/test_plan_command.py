"""`plan`: what a start would do now, told by the start's own code, with nothing written."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from tests.support.program import Program, python
from tests.support.stage import TENANT

if TYPE_CHECKING:
    from tests.conftest import RoleFactory
    from tests.support.stage import Stage


def told(stage: Stage, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit code of `plan --json`, and its answer, beside the start's own variables."""
    stage.write_settings()
    environ = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": stage.url,
        "SEED_TENANT_ID": TENANT,
        **stage.environ,
    }
    program = Program.start("plan", "--json", *words, environ=environ, directory=stage.directory)
    code = program.wait()
    return code, json.loads(program.stdout)


def steps(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """What would become of the push and of the seed."""
    return [(answer[step]["action"], answer[step]["reason"]) for step in ("push", "seed")]


@pytest.fixture
def service(stage: Stage) -> Stage:
    """A service whose second start can be proved needless."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    return stage


def agrees(stage: Stage, answer: dict[str, Any]) -> None:
    """A start does what was told, for the same reasons."""
    start = stage.start()
    assert start.wait() == 0, start.output
    for step in ("push", "seed"):
        ran = answer[step]["action"] == "run"
        [event] = start.all(f"{step}.started" if ran else f"{step}.skipped")
        assert event["reason"] == answer[step]["reason"]
    assert start.one("database.finished")["created"] is (answer["exists"] is False)


def test_from_nothing_to_a_third_release(service: Stage) -> None:
    """Each answer is what the next start then does, and none of them writes anything."""
    code, answer = told(service)
    assert (code, answer["exists"], steps(answer)) == (11, False, [("run", "first")] * 2)
    with service.server.connect() as connection:
        query = "select from pg_database where datname = %s"
        assert connection.execute(query, [service.database]).fetchall() == []
    agrees(service, answer)

    before = counters(service)
    code, answer = told(service)
    assert (code, steps(answer)) == (0, [("skip", "unchanged"), ("skip", "seeded")])
    assert answer["last_push"]["release"] == "v1"
    assert answer["seed"]["tenant"] == TENANT
    assert counters(service) == before
    agrees(service, answer)

    service.environ["ENTRYPOINT_RELEASE"] = "v2"
    code, answer = told(service)
    assert (code, steps(answer)) == (11, [("run", "changed"), ("run", "changed")])
    agrees(service, answer)

    service.environ["ENTRYPOINT_RELEASE"] = "v1"
    code, answer = told(service)
    assert code == 0
    assert steps(answer)[0] == ("skip", "unchanged")
    agrees(service, answer)

    service.environ["ENTRYPOINT_RELEASE"] = "v2"
    with service.connect() as connection:
        connection.execute("alter table rpg_heroes add column by_hand int")
    code, answer = told(service)
    assert (code, steps(answer)[0]) == (11, ("run", "drift"))
    agrees(service, answer)


def counters(stage: Stage) -> list[Any]:
    """What the server has counted as written, and the comment with the ledger."""
    with stage.connect() as connection:
        connection.execute("select pg_stat_force_next_flush()")
        query = (
            "select tup_inserted, tup_updated, tup_deleted, shobj_description(d.oid, 'pg_database')"
            " from pg_stat_database join pg_database d using (datname)"
            " where datname = current_database()"
        )
        return connection.execute(query).fetchall()


def test_what_a_start_would_refuse(service: Stage, role: RoleFactory) -> None:
    """With the start's own error and exit code: settings, server, owner, older release."""
    service.environ["ENTRYPOINT_WAIT_TIMEOUT"] = "1"
    assert service.start().wait() == 0
    url = service.url
    for wrong, code, error in (
        (url.replace(f"/{service.database}", "/postgres"), 3, "no application table"),
        (service.server.url(service.database, service.user, "wrong"), 5, "refused role"),
        (url.replace(f":{service.server.port}", ":1"), 4, "was not ready after"),
    ):
        service.environ["DATABASE_URL"] = wrong
        found, answer = told(service)
        assert (found, error in answer["failed"]["error"]) == (code, True), answer
    del service.environ["DATABASE_URL"]

    service.environ["ENTRYPOINT_RELEASE"] = "v2"
    assert service.start().wait() == 0
    with service.connect() as connection:
        connection.execute("alter table rpg_heroes add column by_hand int")
    service.environ["ENTRYPOINT_RELEASE"] = "v1"
    service.sections["push"] = {"on_older": "fail"}
    code, answer = told(service)
    assert code == 7
    assert "not pushed: an older release" in answer["failed"]["error"]

    stranger = role("")
    with service.server.connect() as connection:
        owner = sql.SQL("alter database {} owner to {}").format(
            sql.Identifier(service.database), sql.Identifier(stranger.name)
        )
        connection.execute(owner)
    with service.connect() as connection:
        mine, other = sql.Identifier(service.user), sql.Identifier(stranger.name)
        connection.execute(sql.SQL("reassign owned by {} to {}").format(mine, other))
        grant = sql.SQL("grant connect on database {} to {}")
        connection.execute(grant.format(sql.Identifier(service.database), mine))
    code, answer = told(service)
    assert code == 5
    assert f"belongs to '{stranger.name}'" in answer["failed"]["error"]


def test_a_person_reads_it(service: Stage) -> None:
    """A line for each step that would run or not, and where."""
    service.push = python("push")
    service.write_settings()
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": service.url, **service.environ}
    program = Program.start("plan", environ=environ, directory=service.directory)
    assert program.wait() == 11
    lines = program.stdout.decode().splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["database", "create"],
        ["push", "run"],
        ["seed", "skip"],
    ]
    assert lines[-1].startswith(f"{service.database} on ")
