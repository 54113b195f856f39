"""A push whose role may create nothing in schema public: the catalog says whose it is."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from entrypoint.config import dialects
from entrypoint.postgres import ownership
from entrypoint.postgres.session import open_session
from tests.support import versions
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Server

ROLE = 'the "own" role'


@pytest.fixture(scope="module", params=[14, 18])
def old_and_new(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server whose schema public is the first superuser's, and one where it is the owner's."""
    with versions.started(request.param) as server:
        yield server


@pytest.fixture
def others(old_and_new: Server, tmp_path: Path) -> Iterator[Stage]:
    """A database that belongs to `boss`, to which the service's role has agreed."""
    server = old_and_new
    quoted = ROLE.replace('"', '""')
    with server.connect() as connection:
        connection.execute("create role boss")
        connection.execute(f"create role \"{quoted}\" login password 'own-password'".encode())
        connection.execute("create database own_db owner boss")
    with server.connect("own_db") as connection:
        connection.execute("revoke create on schema public from public")
    stage = Stage(tmp_path, server, "own_db", ROLE, "own-password")
    stage.environ |= {"ENTRYPOINT_DATABASE_OWNER": "boss", "ENTRYPOINT_SKIP": "seed"}
    yield stage
    with server.connect() as connection:
        connection.execute("drop database own_db with (force)")
        connection.execute(f'drop role boss, "{quoted}"'.encode())


def failed(stage: Stage) -> dict[str, Any]:
    """How the push ended, which created nothing."""
    program = stage.start()
    assert program.wait() == 7, program.output
    with stage.connect() as connection:
        assert connection.execute("select from pg_tables where schemaname = 'public'").rowcount == 0
    return program.one("push.failed")


def mended(stage: Stage, statement: str) -> None:
    """The statement is what was lacking: the first start after it pushes, and a second one."""
    with stage.connect() as connection:
        connection.execute(statement.encode())
    for _ in range(2):
        program = stage.start()
        assert program.wait() == 0, program.output


def ways(remedy: str) -> list[str]:
    """The statements of a remedy."""
    found = remedy.removeprefix("Run ").rpartition(", as ")[0].split(", or ")
    return [each.rpartition("own the database, ")[2] for each in found]


@pytest.mark.parametrize("way", [0, 1])
def test_a_schema_of_another_owner(others: Stage, way: int) -> None:
    """Exit 7 with both ways out and the real names; each of them mends it by itself."""
    failure = failed(others)

    remedy = failure["remedy"]
    assert "'boss'" in remedy or "'postgres'" in remedy
    assert len(ways(remedy)) == 2
    assert '"the ""own"" role"' in remedy
    if others.server.superuser in remedy:
        assert "ALTER SCHEMA public OWNER TO" in remedy
    mended(others, ways(remedy)[way])


@pytest.fixture
def team(others: Stage) -> Iterator[str]:
    """The role that the service's own acts as (`ALTER ROLE ... SET role`)."""
    name = '"the ""own"" role"'
    with others.connect() as connection:
        connection.execute("create role team")
        connection.execute(f"grant team to {name}; alter role {name} set role = team".encode())
    yield "team"
    with others.connect() as connection:
        connection.execute("reassign owned by team to boss; drop owned by team; drop role team")


@pytest.mark.parametrize("way", [0, 1])
def test_a_role_that_acts_as_another(others: Stage, team: str, way: int) -> None:
    """The right is lacking to whom the push acts as, so each way out is for that role."""
    remedy = failed(others)["remedy"]

    assert [team in each for each in ways(remedy)] == [True, True]
    assert '"the ""own"" role"' not in remedy
    mended(others, ways(remedy)[way])


def test_a_database_without_the_schema(others: Stage) -> None:
    """Where somebody dropped it, the statement that makes it is told."""
    with others.connect() as connection:
        connection.execute("drop schema public")

    [statement] = ways(failed(others)["remedy"])

    assert statement == 'CREATE SCHEMA public AUTHORIZATION "the ""own"" role"'
    mended(others, statement)


def test_a_role_with_a_schema_of_its_own(others: Stage) -> None:
    """A role whose path leads elsewhere needs nothing in schema public, and is told nothing."""
    name = '"the ""own"" role"'
    with others.connect() as connection:
        connection.execute(f"create schema authorization {name}".encode())
    conninfo = dialects.parse(others.url, "DATABASE_URL")
    with closing(open_session(conninfo, 5, application_name="test")) as session:
        assert ownership.no_place(session) is None


def test_a_role_that_may_name_another_schema(others: Stage) -> None:
    """Where the push may work in a schema that it names, its own lines are pointed to first."""
    name = '"the ""own"" role"'
    with others.connect() as connection:
        connection.execute(f"create schema app authorization {name}".encode())
    others.push = ["sh", "-c", "echo 'no such column'; exit 3"]

    remedy = failed(others)["remedy"]

    first, lines, rest = remedy.partition("If they report 'permission denied for schema public'")
    assert first.startswith("Correct the error in its lines")
    assert lines
    assert rest.startswith(f", run GRANT USAGE, CREATE ON SCHEMA public TO {name}, or ")


def test_a_push_that_fails_for_another_reason(others: Stage) -> None:
    """Where the role may create, its own lines are what the remedy points to."""
    with others.connect() as connection:
        name = '"the ""own"" role"'
        connection.execute(f"grant create on schema public to {name}".encode())
    others.push = ["sh", "-c", "exit 3"]
    program = others.start()

    assert program.wait() == 7
    assert "schema public" not in program.one("push.failed")["remedy"]
