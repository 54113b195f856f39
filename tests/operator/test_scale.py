"""Many services on one server: every one is looked at, over few connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operator.conftest import Operator, answer, create_database, execute
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.program import Program

pytestmark = pytest.mark.long

SERVICES, TABLES = 40, 10

MAX_CONNECTIONS = 5
"""What the page on verify and status says."""


def name(number: int) -> str:
    """A service's database."""
    return f"scale_{number:03}_db"


@pytest.fixture(scope="module")
def crowded() -> Iterator[Server]:
    """40 databases of 10 tables on a server.

    Every tenth has a table of its neighbour, and there is one of each service in `postgres`.
    """
    with Server.start() as server:
        execute(server, "create database model is_template true")
        tables = [f"create table t_{i} (id serial, t text)" for i in range(TABLES)]
        execute(server, ";".join(tables), "model")
        for i in range(SERVICES):
            create_database(server, name(i), "template model")
        strays = [f"create table s{i:03}_stray (id int)" for i in range(SERVICES)]
        execute(server, ";".join(strays))
        for i in range(0, SERVICES, 10):
            execute(server, f"create table s{i + 1:03}_lost (id int)", name(i))
        yield server


@pytest.fixture
def somebody(crowded: Server, tmp_path: Path) -> Operator:
    """The superuser of that server."""
    return Operator(crowded, tmp_path, crowded.url())


@pytest.fixture
def registry(somebody: Operator) -> dict[str, str]:
    """The variable that names the registry of the 40."""
    rows = ((f"service-{i:03}", name(i), [f"s{i:03}_"]) for i in range(SERVICES))
    return somebody.registry(*rows)


def most_connections(operator: Operator, program: Program) -> int:
    """How many sessions of an operator there were at once at most, looked at without a pause."""
    query = "select count(*) from pg_stat_activity where application_name = 'entrypoint/operator'"
    seen: list[int] = []
    with operator.server.connect() as connection:
        while program.process.poll() is None:
            seen += [count for (count,) in connection.execute(query).fetchall()]
    return max(seen)


def test_verify_forty_databases(somebody: Operator, registry: dict[str, str]) -> None:
    """Each is looked at once, each stray found once, over five connections at most."""
    program = somebody.start("verify", "--json", environ=registry)
    most = most_connections(somebody, program)
    said = answer(program)

    assert 2 <= most <= MAX_CONNECTIONS
    assert said.code == 9
    assert said.json["databases"] == ["postgres", *map(name, range(SERVICES))]
    found = [
        (f["database"], f["object"], f["service"])
        for f in said.findings
        if f["level"] == "misplaced"
    ]
    assert found == [
        *(("postgres", f"s{i:03}_stray", f"service-{i:03}") for i in range(SERVICES)),
        *((name(i), f"s{i + 1:03}_lost", f"service-{i + 1:03}") for i in range(0, SERVICES, 10)),
    ]
    notices = [(f["database"], f["object"]) for f in said.findings if f["level"] == "notice"]
    assert notices == [(name(i), f"t_{j}") for i in range(SERVICES) for j in range(TABLES)]


def test_status_of_forty_databases(somebody: Operator, registry: dict[str, str]) -> None:
    """A row for each in the registry's order, over five connections at most."""
    program = somebody.start("status", "--json", environ=registry)
    most = most_connections(somebody, program)
    said = answer(program)

    assert 2 <= most <= MAX_CONNECTIONS
    assert said.code == 0
    assert [(row["database"], row["tables"]) for row in said.rows] == [
        (name(i), TABLES + (i % 10 == 0)) for i in range(SERVICES)
    ]
    assert {row["sessions"] for row in said.rows} == {0}


def test_a_role_with_few_connections(somebody: Operator, registry: dict[str, str]) -> None:
    """With three sessions of its own, a fourth is refused, and that is told for each database."""
    somebody.execute("create role few login password 'its-password' connection limit 3")
    for i in range(SERVICES):
        somebody.execute(f"grant connect on database {name(i)} to few")
    url = somebody.server.url("postgres", "few", "its-password")

    said = somebody.run("verify", "--json", environ={**registry, "DATABASE_URL": url})

    looked_at, failures = said.json["databases"], said.json["failures"]
    assert len(looked_at) + len(failures) == SERVICES + 1
    assert said.code == (max(failure["exit_code"] for failure in failures) if failures else 9)
    assert all("53300" in failure["message"] for failure in failures)
