"""A live service beside guarded pushes: nothing of it fails, and nothing of it fails a push."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import guards
from tests.support.program import python, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Server
    from tests.support.stage import Stage

PROGRAM = Path(__file__).parents[1] / "support" / "programs" / "bystander.py"

TABLES = """
create table rpg_events (at timestamptz); create table rpg_cache (id int);
create table rpg_swap (id int); create table rpg_kept (id int, note text);
insert into rpg_cache values (1); insert into rpg_swap values (1);
insert into rpg_kept values (1, 'x')
"""


class Service:
    """The live service's process."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        environ = {"DATABASE_URL": stage.url, "PATH": "/usr/bin:/bin"}
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM)],
            cwd=stage.directory,
            env=environ,
            stderr=subprocess.PIPE,
        )

    def rounds(self) -> int:
        """How many turns it has had."""
        file = self.stage.directory / "rounds"
        return int(file.read_text()) if file.exists() else 0

    def goes_on(self, turns: int = 3) -> None:
        """Block until it has had some more turns."""
        goal = self.rounds() + turns
        until(
            lambda: self.process.poll() is not None or self.rounds() >= goal,
            "the live service goes on",
        )
        assert self.process.poll() is None, self.stderr()

    def stderr(self) -> str:
        """What it complained of."""
        return self.process.communicate(timeout=30)[1].decode()

    def end(self) -> None:
        """End it; it had no error."""
        (self.stage.directory / "stop").touch()
        errors = self.stderr()
        assert (self.process.returncode, errors) == (0, "")


@pytest.fixture
def service(stage: Stage) -> Iterator[Service]:
    """One on a database that was pushed, whose next pushes an admin guards."""
    stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url()
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    stage.push = python("push", "sql", TABLES)
    first = stage.start(command="prepare")
    assert first.wait() == 0, first.output
    stage.environ["ENTRYPOINT_RELEASE"] = "v2"
    service = Service(stage)
    service.goes_on()
    yield service
    if service.process.poll() is None:
        service.process.kill()
        service.process.communicate()


PSQL = ["psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1"]


def psql(stage: Stage, server: Server, *statements: str) -> list[str]:
    """A push by the wheel's psql."""
    words = [word for statement in statements for word in ("--command", statement)]
    tool = str(server.pg_bin / "psql") if hasattr(server, "pg_bin") else "psql"
    return [tool, *PSQL[1:], *words, stage.url]


@pytest.mark.parametrize("kind", ["psycopg", "psql"])
def test_a_live_service(service: Service, server: Server, kind: str) -> None:
    """It truncates and swaps from old and new connections; the push passes, and says who did it."""
    stage = service.stage
    if kind == "psql":
        wait = "select pg_sleep(0.05) from generate_series(1, 40)"
        stage.push = psql(stage, server, "create table rpg_more ()", wait)
        program = stage.start()
        program.until("guard.armed")
    else:
        stage.push = python("push", "ready", "wait-for", str(stage.gate))
        program = stage.start()
        program.until("push.printed")
    service.goes_on()
    stage.gate.touch()

    assert program.wait() == 0, program.output
    loss = program.one("push.loss_found")
    assert "rpg_swap" in loss["by_others"]
    service.goes_on()
    service.end()
    with stage.connect() as connection:
        assert guards.remains(connection) == []


@pytest.mark.parametrize(
    "statement", ["truncate rpg_kept", "drop table rpg_kept", "alter table rpg_kept drop note"]
)
@pytest.mark.parametrize("kind", ["psycopg", "psql"])
def test_a_loss_of_the_pushs_own(
    service: Service, server: Server, kind: str, statement: str
) -> None:
    """Beside such a service the push itself is refused all the same."""
    stage = service.stage
    stage.push = (
        psql(stage, server, statement) if kind == "psql" else python("push", "sql", statement)
    )
    program = stage.start()

    assert program.wait() == 7, program.output
    assert "rpg_kept" in program.one("push.failed")["error"]
    service.goes_on()
    service.end()
    with stage.connect() as connection:
        assert connection.execute("select note from rpg_kept").fetchall() == [("x",)]


def test_a_cache_that_was_empty_when_the_guard_came(stage: Stage) -> None:
    """Its rows came while the guard was armed, and the service's TRUNCATE of them fails no push."""
    stage.environ |= {"ENTRYPOINT_ADMIN_URL": stage.server.url(), "ENTRYPOINT_RELEASE": "v1"}
    stage.push = python("push", "sql", TABLES, "sql", "truncate rpg_cache")
    first = stage.start(command="prepare")
    assert first.wait() == 0, first.output
    stage.environ["ENTRYPOINT_RELEASE"] = "v2"
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    arming = "wait_event_type = 'Lock' and query like '%create%trigger%rpg_kept%'"
    with stage.connect() as connection:
        with stage.connect() as writer, writer.transaction():
            writer.execute("insert into rpg_kept values (2, 'y')")
            program = stage.start()
            query = f"select from pg_stat_activity where {arming}"
            until(lambda: connection.execute(query.encode()).rowcount, "the guard waits")
            connection.execute("insert into rpg_cache values (1)")
        program.until("push.printed")
        connection.execute("truncate rpg_cache")
        stage.gate.touch()

        assert program.wait() == 0, program.output
