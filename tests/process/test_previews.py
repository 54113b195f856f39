"""Starts of previews: each pushes, seeds and serves in a database of its own."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.support.pooler import PROGRAM, Pooler
from tests.support.program import Program, python
from tests.support.stage import Stage, service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint

COMMENT = "select shobj_description(oid, 'pg_database') from pg_database where datname = %s"


@pytest.fixture
def stage(tmp_path: Path, server: Endpoint, database: str, role: RoleFactory) -> Iterator[Stage]:
    """A registered service with a database, and all of its previews' databases dropped after."""
    owner = role("createdb")
    (tmp_path / "services.toml").write_text(f'[demo]\ndatabase = "{database}"\n')
    made = Stage(tmp_path, server, database, owner.name, owner.password)
    made.environ |= {"ENTRYPOINT_SERVICES": "services.toml", "ENTRYPOINT_RELEASE": "v1"}
    yield made
    made.close()
    with server.connect() as connection:
        for name in previews(made):
            drop = sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
            connection.execute(drop)


def previews(stage: Stage) -> list[str]:
    """The databases of the service's previews."""
    with stage.server.connect() as connection:
        query = "select datname from pg_database where starts_with(datname, %s) order by 1"
        return [name for (name,) in connection.execute(query, [f"{stage.database}_pr_"])]


def rows(stage: Stage, name: str) -> list[tuple[object, ...]]:
    """Which steps ran in a database."""
    with stage.server.connect(name) as connection:
        return connection.execute("select what from runs order by started").fetchall()


def preview(stage: Stage, number: str, *argv: str) -> Program:
    """Start a preview, as Coolify does: with production's URL."""
    before = dict(stage.environ)
    stage.environ["COOLIFY_CONTAINER_NAME"] = f"xk0s8w4gc8cc4wgkcc8ow0gk-pr-{number}"
    try:
        return stage.start(*argv)
    finally:
        stage.environ = before


def started(program: Program) -> Program:
    """The service was started."""
    assert program.wait() == 0, program.output
    return program


def holds(stage: Stage) -> list[object]:
    """All that the service's own database holds: its tables with their rows, and its comment."""
    with stage.connect() as connection:
        query = (
            "select oid, relname, relfilenode from pg_class where relnamespace = 2200 order by 1"
        )
        tables = connection.execute(query).fetchall()
        found: list[object] = [tables, connection.execute(COMMENT, [stage.database]).fetchall()]
        for name in ("runs", "rpg_heroes"):
            found += connection.execute(sql.SQL("table {}").format(sql.Identifier(name))).fetchall()
    return found


def url_of_service(program: Program) -> str:
    """What the service found in DATABASE_URL."""
    entries = [bytes.fromhex(entry).decode() for entry in json.loads(program.stdout)["environ"]]
    return dict(entry.split("=", 1) for entry in entries)["DATABASE_URL"]


def test_a_database_of_its_own(stage: Stage) -> None:
    """The push, the seed and the service use it; a second start has nothing to do."""
    first = started(preview(stage, "7", *service()))

    assert previews(stage) == [f"{stage.database}_pr_7"]
    assert rows(stage, f"{stage.database}_pr_7") == [("push",), ("seed",)]
    found = first.one("preview.found")
    assert (found["preview"], found["named_by"]) == ("7", "COOLIFY_CONTAINER_NAME")
    assert found["database"] == f"{stage.database}_pr_7"
    assert found["changed"] == ["DATABASE_URL"]
    assert url_of_service(first) == stage.url.replace(stage.database, f"{stage.database}_pr_7")

    second = started(preview(stage, "7"))
    assert second.one("push.skipped")["reason"] == "unchanged"
    assert second.one("seed.skipped")["reason"] == "seeded"
    assert "lock.acquired" not in second.names()


def test_the_comment_says_whose_it_is(stage: Stage) -> None:
    """Service, preview, branch and last start; once an hour, and not at each start."""
    stage.environ["COOLIFY_BRANCH"] = "fix-it"
    started(preview(stage, "7"))
    name = f"{stage.database}_pr_7"

    def mark() -> dict[str, str]:
        with stage.server.connect() as connection:
            [(comment,)] = connection.execute(COMMENT, [name])
        return dict(json.loads(comment.rpartition("entrypoint:")[2])["preview"])

    before = mark()
    assert before.pop("at").endswith("Z")
    assert before == {"service": "demo", "preview": "7", "branch": "fix-it"}

    with stage.server.connect() as connection:
        [(comment,)] = connection.execute(COMMENT, [name])
        for at, written in (("2026-01-02T03:04:05Z", True), ("2999-01-02T03:04:05Z", True)):
            old = mark()["at"]
            text = comment.replace(old, at) if old in comment else comment
            statement = sql.SQL("comment on database {} is {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Literal(text)))
            third = started(preview(stage, "7"))
            assert ("lock.acquired" in third.names()) is written
            assert third.one("push.skipped")["reason"] == "unchanged"
            assert mark()["at"] != at
            [(comment,)] = connection.execute(COMMENT, [name])
    assert "lock.acquired" not in started(preview(stage, "7")).names()


def test_ten_previews_beside_production(stage: Stage) -> None:
    """Five of two services at once: ten databases, pushed and seeded once; theirs as they were."""
    other = replace(stage, database=f"{stage.database}_2", environ=dict(stage.environ))
    other.environ["ENTRYPOINT_SERVICE"] = "other"  # both read one file of settings
    registry = stage.directory / "services.toml"
    registry.write_text(f'{registry.read_text()}[other]\ndatabase = "{other.database}"\n')
    both = (stage, other)
    try:
        for each in both:
            started(each.start())
        before = [holds(each) for each in both]

        programs = [preview(each, str(number)) for number in range(1, 6) for each in both * 2]

        assert [program.wait() for program in programs] == [0] * 20
        for each in both:
            assert len(previews(each)) == 5
            for name in previews(each):
                assert rows(stage, name) == [("push",), ("seed",)]
        assert [holds(each) for each in both] == before
    finally:
        with stage.server.connect() as connection:
            for name in (*previews(other), other.database):
                drop = sql.SQL("drop database if exists {} with (force)")
                connection.execute(drop.format(sql.Identifier(name)))


def test_a_name_of_63_bytes(stage: Stage) -> None:
    """The preview's is as long, and another one."""
    stage.database = stage.database.ljust(63, "x")
    (stage.directory / "services.toml").write_text(f'[demo]\ndatabase = "{stage.database}"\n')

    started(preview(stage, "1234567890"))
    program = started(preview(stage, "1234567890"))

    name = program.one("preview.found")["database"]
    assert len(name) == 63
    try:
        assert rows(stage, name) == [("push",), ("seed",)]
    finally:
        with stage.server.connect() as connection:
            drop = sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
            connection.execute(drop)


def test_a_database_that_somebody_named(stage: Stage) -> None:
    """Its own by hand, and another preview's by mistake: the same one."""
    own = stage.server.url(f"{stage.database}_pr_7", stage.user, stage.password)
    for named in (own, own.replace("_pr_7", "_pr_8")):
        stage.environ["DATABASE_URL"] = named
        started(preview(stage, "7"))

    assert previews(stage) == [f"{stage.database}_pr_7"]


def test_as_many_as_are_allowed(stage: Stage) -> None:
    """The next is refused with what to do; those that are there start on."""
    stage.environ["ENTRYPOINT_PREVIEW_MAX"] = "2"
    for number in ("1", "2"):
        started(preview(stage, number))

    third = preview(stage, "3")

    assert third.wait() == 5
    failed = third.one("database.failed")
    assert failed["error"] == (
        f"2 previews of {stage.database!r} on the server already, and preview.max is 2, so the "
        "start creates no database for preview 3"
    )
    assert "entrypoint previews" in failed["remedy"]
    started(preview(stage, "1"))
    assert len(previews(stage)) == 2


def test_a_role_that_may_not_create(stage: Stage) -> None:
    """Refused with the statement for the preview's database; an admin's URL mends it."""
    with stage.server.connect() as connection:
        connection.execute(sql.SQL("alter role {} nocreatedb").format(sql.Identifier(stage.user)))

    program = preview(stage, "7")

    assert program.wait() == 5
    failed = program.one("database.failed")
    assert f"creating the database '{stage.database}_pr_7'" in failed["error"]
    stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url("postgres")
    started(preview(stage, "7"))
    assert rows(stage, f"{stage.database}_pr_7") == [("push",), ("seed",)]


def test_a_preview_that_pushes_nothing(stage: Stage) -> None:
    """Its database is there, and says whose it is."""
    stage.push = []
    stage.sections = {"seed": {"when": "never"}}

    for at_work in (True, False):
        program = started(preview(stage, "7"))
        assert ("lock.acquired" in program.names()) is at_work

    with stage.server.connect() as connection:
        [(comment,)] = connection.execute(COMMENT, [f"{stage.database}_pr_7"])
    assert '"preview":"7"' in comment


def test_a_start_without_steps(stage: Stage) -> None:
    """It only hands off, and the service still does not get production's database."""
    stage.environ["ENTRYPOINT_SKIP"] = "push,seed"

    program = started(preview(stage, "7", *service()))

    assert url_of_service(program) == stage.url.replace(stage.database, f"{stage.database}_pr_7")


def test_the_push_of_a_preview_sees_no_other_database(stage: Stage) -> None:
    """A preview whose push fails leaves production's alone."""
    started(stage.start())
    before = holds(stage)
    stage.push = python("push", "sql", "drop table rpg_heroes", "exit", "1")

    program = preview(stage, "7")

    assert program.wait() == 7
    assert holds(stage) == before


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_behind_a_pooler_for_all_databases(stage: Stage, mode: str) -> None:
    """The service gets the pooler's URL with its preview's database."""
    users = {stage.user: stage.password}
    with Pooler(stage.server, mode=mode, auth="scram-sha-256", users=users) as pooler:
        url = pooler.url(stage.database, stage.user, stage.password)
        stage.environ["DATABASE_URL"] = url
        for _ in range(2):
            program = started(preview(stage, "7", *service()))
            assert url_of_service(program) == url.replace(stage.database, f"{stage.database}_pr_7")
    assert rows(stage, f"{stage.database}_pr_7") == [("push",), ("seed",)]


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
@pytest.mark.parametrize("direct", [False, True])
def test_behind_a_pooler_with_a_list(stage: Stage, *, direct: bool) -> None:
    """Refused with the pooler's reason; without a direct URL no database is left."""
    users = {stage.user: stage.password}
    listed = (stage.database, "postgres")
    stage.environ["ENTRYPOINT_WAIT_TIMEOUT"] = "3"
    if direct:
        stage.environ["ENTRYPOINT_DIRECT_URL"] = stage.url
    with Pooler(
        stage.server, mode="transaction", auth="scram-sha-256", users=users, databases=listed
    ) as pooler:
        stage.environ["DATABASE_URL"] = pooler.url(stage.database, stage.user, stage.password)
        program = preview(stage, "7")
        assert program.wait() == (4 if direct else 5), program.output
    failed = program.events[-1]
    assert "no such database: " in failed["error"]
    assert "list of databases" in failed["remedy"]
    assert previews(stage) == ([f"{stage.database}_pr_7"] if direct else [])


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
def test_a_pooler_whose_list_gets_an_asterisk(stage: Stage) -> None:
    """Each start is refused until somebody does what the remedy says."""
    users = {stage.user: stage.password}
    given, starts = dict(stage.environ), []
    for databases, code in (((stage.database, "postgres"), 5), (("*",), 0)):
        with Pooler(
            stage.server, mode="transaction", auth="scram-sha-256", users=users, databases=databases
        ) as pooler:
            url = pooler.url(stage.database, stage.user, stage.password)
            stage.environ = {**given, "DATABASE_URL": url}
            for _ in range(2):
                starts.append(preview(stage, "7"))
                assert starts[-1].wait() == code, starts[-1].output
    assert starts[-1].one("push.skipped")["reason"] == "unchanged"
    assert rows(stage, f"{stage.database}_pr_7") == [("push",), ("seed",)]


def test_a_strangers_database_under_the_name(stage: Stage, role: RoleFactory) -> None:
    """Who created it first gets no push, no seed and no service; the remedy's words let it in."""
    mallory = role("createdb")
    name = sql.Identifier(f"{stage.database}_pr_7")
    with stage.server.connect() as connection:
        owned = sql.SQL("create database {} owner {}")
        connection.execute(owned.format(name, sql.Identifier(mallory.name)))
    first, second = preview(stage, "7"), preview(stage, "7")
    for program in (first, second):
        assert program.wait() == 5, program.output
        assert f"belongs to '{mallory.name}'" in program.one("database.failed")["error"]
        assert "push.started" not in program.names()
    with stage.server.connect() as connection:
        _, _, statement = second.one("database.failed")["remedy"].partition("run ")
        statement, _, _ = statement.partition(",")
        connection.execute(statement)
    started(preview(stage, "7"))
    assert rows(stage, f"{stage.database}_pr_7") == [("push",), ("seed",)]


def test_previews_that_share(stage: Stage) -> None:
    """One database, which the first creates, with neither mark nor number."""
    name = f"{stage.database}_pr_shared"
    stage.environ["DATABASE_URL"] = stage.server.url(name, stage.user, stage.password)
    stage.environ["ENTRYPOINT_PREVIEW_DATABASE"] = "shared"
    for number in ("7", "8"):
        started(preview(stage, number))

    assert previews(stage) == [name]
    assert rows(stage, name) == [("push",), ("seed",)]


def test_a_container_that_knows_no_branch(stage: Stage) -> None:
    """An init container beside the service's: the mark keeps the branch, and is written once."""
    stage.environ["COOLIFY_BRANCH"] = "fix-it"
    started(preview(stage, "7"))
    del stage.environ["COOLIFY_BRANCH"]

    assert "lock.acquired" not in started(preview(stage, "7")).names()
    stage.environ["COOLIFY_BRANCH"] = "fix-it"
    assert "lock.acquired" not in started(preview(stage, "7")).names()


def test_dropped_beside_a_start(stage: Stage) -> None:
    """The drop refuses while the start works, even with --force; after it the start makes anew."""
    words = ("previews", "--service", "demo", "--drop", "7", "--force", "--yes", "--json")
    started(preview(stage, "7"))
    push, stage.push = stage.push, python("push", "ready", "wait-for", str(stage.gate))
    stage.environ["ENTRYPOINT_RELEASE"] = "v2"
    start = preview(stage, "7")
    start.until("push.started")
    environ = {**stage.environ, "PATH": os.environ["PATH"], "DATABASE_URL": stage.url}

    drop = Program.start(*words, environ=environ, directory=stage.directory)
    assert drop.wait() == 5
    [row] = json.loads(drop.stdout)["previews"]
    assert "is at work in it" in row["failure"]["message"]
    stage.gate.touch()
    started(start)

    stage.push = push
    drop = Program.start(*words, environ=environ, directory=stage.directory)
    assert drop.wait() == 0, drop.output
    assert previews(stage) == []
    again = started(preview(stage, "7"))
    assert again.one("push.started")["reason"] == "first"
