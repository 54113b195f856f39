"""Many tables: the server's table of locks is everybody's, and a transfer takes its share of it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import psycopg
import pytest

from tests.operator.conftest import Answer, answer
from tests.operator.transfer.conftest import RPG_DB, World
from tests.support.server import Server
from tests.support.versions import NO_NPM, available, prefix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.program import Program

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

PATIENCE_S = 300.0
"""Seconds for one command, on a machine under load."""

FEW = {"max_connections": "100", "max_locks_per_transaction": "10"}
"""A table of 1,220 locks by its settings in PostgreSQL 15, of 1,360 in 18."""

FEWER = {"max_connections": "40", "max_locks_per_transaction": "10"}
"""One of 620, and of 760."""

TABLE = """
create table rpg_{0} (id serial primary key, name text, up int {1});
create index on rpg_{0} (name);
create index on rpg_{0} (up);
insert into rpg_{0} (name) values ('hero {0}')
"""

MAJORS = [
    pytest.param(each, marks=pytest.mark.skipif(not available(each), reason=NO_NPM))
    for each in (15, 18)
]


@contextmanager
def started(tmp_path: Path, major: int, settings: dict[str, str]) -> Iterator[World]:
    """A world on a server with such settings."""
    with Server.start(settings=settings, prefix=prefix(major)) as server:
        world = World.on(server, tmp_path)
        try:
            yield world
        finally:
            world.close()


def fill(world: World, count: int) -> None:
    """Make so many tables with a sequence, two more indexes and a foreign key to the one before."""
    world.sql("create table sso_users (id serial primary key)")
    with world.server.connect() as connection:
        for start in range(0, count, 100):
            statements = [
                TABLE.format(n, f"references rpg_{n - 1}" if n else "")
                for n in range(start, min(start + 100, count))
            ]
            connection.execute(";".join(statements).encode())


@dataclass
class Bystander:
    """Somebody who makes and drops tables all along, each with indexes and a sequence."""

    world: World
    rounds: int = 0
    errors: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self._work)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _work(self) -> None:
        made = "create table sso_{0} (id serial primary key, name text unique)"
        with self.world.server.connect() as connection:
            while not self.stop.wait(0.02):
                try:
                    with connection.transaction():
                        for n in range(5):
                            connection.execute(made.format(n).encode())
                        for n in range(5):
                            connection.execute(f"drop table sso_{n}".encode())
                except psycopg.Error as error:
                    self.errors.append(str(error))
                self.rounds += 1


def run(world: World, *words: str) -> Answer:
    """A transfer to its end, however long that takes."""
    return finish(world.start(*words))


def finish(program: Program) -> Answer:
    """What one has to say."""
    program.wait(PATIENCE_S)
    return answer(program)


def moved(world: World, *words: str) -> dict[str, Any]:
    """The answer of one that succeeds."""
    done = run(world, "--json", *words)
    assert done.code == 0, done.err
    return done.json


def moved_tables(world: World) -> int:
    """Tables in quarantine."""
    query = "select count(*) from pg_tables where starts_with(schemaname, 'moved_')"
    count: int = world.value(query)
    return count


def test_two_thousand_tables_move_with_default_settings(tmp_path: Path) -> None:
    """With PostgreSQL's own settings 2,000 tables move and come back, and nobody beside sees it."""
    with started(tmp_path, 18, {"max_connections": "100"}) as world:
        fill(world, 2000)
        with Bystander(world) as bystander:
            answer = moved(world)
            back = run(world, "--undo")
        assert len(answer["objects"]) == 4000
        assert sum(each["rows"] for each in answer["objects"] if each["kind"] == "table") == 2000
        assert back.code == 0, back.err
        assert world.value("select count(*) from pg_tables where tablename like 'rpg%'") == 2000
        assert bystander.rounds > 10
        assert bystander.errors == []
        assert world.left() == []


@pytest.mark.parametrize("major", MAJORS)
def test_no_step_takes_more_than_its_share_of_the_locks(tmp_path: Path, major: int) -> None:
    """Where few locks fit, tables are moved, put back and dropped beside one who needs some."""
    with started(tmp_path, major, FEW) as world:
        fill(world, 300)
        with Bystander(world) as bystander:
            moved(world)
            back = run(world, "--undo")
            assert back.code == 0, back.err
            again = moved(world)
            dropped = run(world, "--drop-quarantine")
            assert dropped.code == 0, dropped.err
        assert bystander.errors == []
        assert bystander.rounds > 10
        assert len(again["objects"]) == 600
        assert moved_tables(world) == 0
        assert world.value("select count(*) from rpg_299", RPG_DB) == 1


@pytest.mark.parametrize("major", MAJORS)
def test_what_does_not_fit_into_the_lock_table_is_in_the_plan(tmp_path: Path, major: int) -> None:
    """More locks than fit are an obstacle; its remedy lets the tables move, others busier now."""
    with started(tmp_path, major, FEWER) as world:
        fill(world, 350)
        plan = run(world, "--dry-run", "--json").json
        [locks] = [each for each in plan["obstacles"] if each["name"] == "locks"]
        assert locks["allowable"] is False
        assert "max_locks_per_transaction is 10" in locks["message"]
        refused = run(world, "--allow", "locks")
        assert refused.code == 10
        [told] = refused.failed()["obstacles"]
        assert told["name"] == "locks"
        assert moved_tables(world) == 0
        words = told["remedy"].partition("Run ALTER SYSTEM")[2].partition(",")[0]
        world.sql(f"alter system{words}")
        world.server.restart()
        with Bystander(world) as bystander, world.server.connect() as busier:
            busier.execute("begin; select pg_advisory_xact_lock(n) from generate_series(1, 100) n")
            answer = moved(world)
        assert len(answer["objects"]) == 700
        assert bystander.errors == []


def test_what_fits_without_jobs_is_dumped_without(tmp_path: Path) -> None:
    """Where the workers of pg_dump would not fit, it works alone, and the tables move."""
    with started(tmp_path, 18, FEWER) as world:
        fill(world, 260)
        with Bystander(world) as bystander:
            answer = moved(world, "--jobs", "4")
        assert len(answer["objects"]) == 520
        assert bystander.errors == []


def until_it_waits(world: World, program: Program, table: str) -> None:
    """Block until the program waits for a lock on a table, or on what belongs to it."""
    waits = f"select from pg_locks where not granted and relation = '{table}'::regclass"
    while not world.sql(waits):
        assert program.process.poll() is None, program.output


@contextmanager
def begun(world: World) -> Iterator[Program]:
    """A removal that has found nobody in its way, and waits to write that it has begun."""
    with world.server.connect() as holder:
        holder.execute("begin; lock table pg_description in share mode")
        program = world.start("--drop-quarantine")
        until_it_waits(world, program, "pg_description")
        yield program


def test_a_removal_that_was_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    """After kill -9 in the middle nothing can be put back, which is said; the rest is removed."""
    with started(tmp_path, 18, {}) as world:
        fill(world, 250)
        moved(world)
        with world.server.connect() as reader:
            with begun(world) as program:
                reader.execute("begin; select from moved_gaqno_rpg_db_public.rpg_0")
            until_it_waits(world, program, "moved_gaqno_rpg_db_public.rpg_0")
            program.process.kill()
            program.wait()
        assert 0 < moved_tables(world) < 250
        undone = run(world, "--undo")
        assert undone.code == 10
        failed = undone.failed()
        assert "its removal has begun" in failed["error"]
        assert "--drop-quarantine" in failed["remedy"]
        assert RPG_DB in world.databases()
        dropped = run(world, "--drop-quarantine", "--json")
        assert dropped.code == 0, dropped.err
        assert world.sql("select 1 from pg_namespace where starts_with(nspname, 'moved_')") == []
        assert world.value("select count(*) from rpg_249", RPG_DB) == 1


def test_nothing_is_removed_that_begins_to_be_used_meanwhile(tmp_path: Path) -> None:
    """A view that somebody makes over the quarantine, while it is removed, stays with its table."""
    with started(tmp_path, 18, {}) as world:
        fill(world, 250)
        moved(world)
        with world.server.connect() as other:
            with begun(world) as program:
                other.execute("begin")
                other.execute("create view seen as select * from moved_gaqno_rpg_db_public.rpg_3")
            until_it_waits(world, program, "moved_gaqno_rpg_db_public.rpg_3")
            other.execute("commit")
            failed = finish(program)
        assert failed.code == 10, failed.err
        told = (
            "other objects still use 'moved_gaqno_rpg_db_public': rule _RETURN on view public.seen"
        )
        assert failed.failed()["error"] == told
        assert world.value("select count(*) from seen") == 1
        world.sql("drop view seen")
        dropped = run(world, "--drop-quarantine")
        assert dropped.code == 0, dropped.err
        assert moved_tables(world) == 0
