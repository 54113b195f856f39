"""A backup of a guarded database restores in one transaction, whenever it was taken."""

from __future__ import annotations

import random
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.support import guards, versions
from tests.support.program import python
from tests.support.server import Endpoint, Server
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD_TOOLS = Path("/usr/lib/postgresql/15/bin")
"""An older server does not know all that pg_restore of 17 and newer sets."""

DUMPS = 10

FILL = """do $$ begin for i in 1..40 loop
  execute format('create table rpg_%s as select 1 as id', i); end loop; end $$"""
MORE = """do $$ begin for i in 1..40 loop
  execute format('create table rpg_more_%s_%s as select 1 as id', txid_current(), i);
  perform pg_sleep(0.01); end loop; end $$"""


@dataclass
class Backups:
    """Takes and restores dumps as the service's role."""

    stage: Stage
    tools: Path
    target: Endpoint
    folder: Path
    taken: int = 0

    def run(self, tool: str, *words: str) -> None:
        """Run a client program, which succeeds."""
        environ = {"PGPASSWORD": self.stage.password, "PATH": "/usr/bin:/bin"}
        argv = [str(self.tools / tool), *words]
        done = subprocess.run(argv, env=environ, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def take(self) -> Path:
        """Take one, in one of two formats."""
        self.taken += 1
        file = self.folder / f"dump_{self.taken}"
        how = "custom" if self.taken % 2 else "plain"
        self.run("pg_dump", f"--format={how}", f"--file={file}", self.stage.url)
        return file

    def restore(self, file: Path) -> list[str]:
        """Restore it in one transaction; what there is of guards then."""
        stage = self.stage
        name = f"test_{uuid.uuid4().hex[:12]}"
        with self.target.connect() as connection:
            statement = sql.SQL("create database {} template template0 owner {}")
            owner = sql.Identifier(stage.user)
            connection.execute(statement.format(sql.Identifier(name), owner))
        try:
            url = self.target.url(name, stage.user, stage.password)
            if file.read_bytes().startswith(b"PGDMP"):
                self.run("pg_restore", "--single-transaction", f"--dbname={url}", str(file))
            else:
                words = ("--single-transaction", "--set=ON_ERROR_STOP=1", "--no-psqlrc", "--quiet")
                self.run("psql", *words, f"--file={file}", url)
            with self.target.connect(name) as connection:
                assert connection.execute("select from rpg_40").rowcount == 1
                return guards.remains(connection)
        finally:
            with self.target.connect() as connection:
                connection.execute(f"drop database {name}")


@pytest.fixture(scope="module", params=versions.ENDS)
def versioned(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each version, which a test may crash."""
    settings = {"synchronous_commit": "on"}  # what was armed must outlive the crash
    with versions.started(request.param, settings=settings) as started:
        yield started


@pytest.fixture(scope="module")
def newest() -> Iterator[Server]:
    """The wheel's, which has all clients: no client comes with an old server from npm."""
    with Server.start() as started:
        yield started


@pytest.fixture(params=["plain", "superuser"])
def backups(
    request: pytest.FixtureRequest, versioned: Server, newest: Server, tmp_path: Path
) -> Iterator[Backups]:
    """A service with 40 tables, pushed as a plain role beside an admin, or as a superuser."""
    user = f"role_{uuid.uuid4().hex[:12]}"
    kind = "superuser" if request.param == "superuser" else "createdb"
    with versioned.connect() as connection:
        old = connection.info.server_version < 170000
        connection.execute(f"create role {user} login password 'x' {kind}")
        connection.execute("checkpoint")  # the tests' servers write nothing before it
    tools, target = newest.pg_bin, versioned
    if old and OLD_TOOLS.exists():
        tools = OLD_TOOLS
    elif old:
        target = newest
        with newest.connect() as connection:
            connection.execute(f"create role {user} login password 'x' {kind}")
    stage = Stage(tmp_path, versioned, f"db_{user}", user, "x")
    stage.environ["ENTRYPOINT_ADMIN_URL"] = versioned.url()
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    stage.push = python("push", "sql", FILL)
    first = stage.start(command="prepare")
    assert first.wait() == 0, first.output
    yield Backups(stage, tools, target, tmp_path)
    for program in stage.started:
        program.process.kill()
        program.wait()


def test_any_moment_of_a_push(backups: Backups) -> None:
    """Ten dumps that begin whenever they do beside guarded pushes all restore."""
    stage = backups.stage
    files: list[Path] = []
    stage.push = python("push", "sql", MORE)
    release = 1
    while len(files) < DUMPS:
        release += 1
        stage.environ["ENTRYPOINT_RELEASE"] = f"v{release}"
        program = stage.start(command="prepare")
        program.until(random.choice(["entrypoint.started", "lock.acquired", "guard.armed"]))
        while program.process.poll() is None:
            files.append(backups.take())
        assert program.wait() == 0, program.output
        assert program.one("guard.armed")
    for file in files:
        backups.restore(file)


def test_a_moment_when_all_is_armed(backups: Backups) -> None:
    """A dump has the triggers, which restore and are dead, and knows of no event trigger."""
    stage = backups.stage
    stage.environ["ENTRYPOINT_RELEASE"] = "v2"
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    program = stage.start(command="prepare")
    program.until("push.printed")
    with stage.connect() as connection:
        assert "event trigger" in guards.remains(connection)
    files = [backups.take(), backups.take()]
    stage.gate.touch()
    assert program.wait() == 0, program.output

    for file in files:
        restored = backups.restore(file)
        assert "trigger on rpg_40" in restored
        assert {each.split()[0] for each in restored} == {"trigger"}
    with stage.connect() as connection:
        assert guards.remains(connection) == []


def test_after_a_crash_of_the_server(backups: Backups, versioned: Server) -> None:
    """A dump of what a crash left restores, and a start that has nothing to do removes it all."""
    stage = backups.stage
    stage.environ["ENTRYPOINT_RELEASE"] = "v2"
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    program = stage.start(command="prepare")
    program.until("push.printed")
    versioned.stop("immediate")
    assert program.wait() in (6, 7), program.output
    versioned.resume()
    with stage.connect() as connection:
        assert "event trigger" in guards.remains(connection)

    for file in [backups.take(), backups.take()]:
        assert "trigger on rpg_40" in backups.restore(file)

    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    stage.push = python("push", "sql", FILL)
    warm = stage.start(command="prepare")
    assert warm.wait() == 0, warm.output
    assert "push.skipped" in warm.names()
    assert "trigger on public.rpg_40" in warm.one("guard.removed")["removed"]
    with stage.connect() as connection:
        left = guards.remains(connection)
        [(superuser,)] = connection.execute(
            "select rolsuper from pg_roles where rolname = %s", [stage.user]
        ).fetchall()
    # Without a superuser's session the event trigger stays, which nobody notices.
    assert left == ([] if superuser else ["function entrypoint_guard", "event trigger"])
