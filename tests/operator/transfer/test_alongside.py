"""What else runs on a server while a service moves: poolers, backups, maintenance, subscribers."""

from __future__ import annotations

import re
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.operator.transfer.conftest import RPG_DB, SMALL, World
from tests.support.pooler import PROGRAM, Pooler
from tests.support.program import until
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HELD = "select 1 from pg_locks where granted and mode = '{}' and relation = '{}'::regclass"

WAITS = "select 1 from pg_locks where not granted and relation = '{}'::regclass"

ENDS = re.compile(r"SELECT pg_terminate_backend\(\d+\)")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[World]:
    """Another server, with the small tables and without their rows."""
    with Server.start() as server:
        (tmp_path / "other").mkdir()
        world = World.on(server, tmp_path / "other")
        world.sql(f"{SMALL}; truncate rpg_items, dnd_rolls")
        yield world


@contextmanager
def reading(world: World) -> Iterator[psycopg.Connection[Any]]:
    """Somebody has read a table, and does nothing more in the transaction for the body."""
    url = world.server.url()
    with (
        suppress(psycopg.errors.AdminShutdown),
        psycopg.connect(url, application_name="a report") as connection,
    ):
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("select count(*) from rpg_items")
        yield connection


@contextmanager
def maintaining(world: World, statement: str, after: str) -> Iterator[None]:
    """Somebody runs a statement, which goes on for the body; it begins when a query has rows."""

    def work() -> None:
        with psycopg.connect(
            world.server.url(), application_name="maintenance", autocommit=True
        ) as connection:
            try:
                connection.execute(statement.encode())
            except psycopg.errors.AdminShutdown:
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        until(lambda: world.sql(after), "it is at it")
        yield
    finally:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pooler_is_refused_and_the_server_itself_is_not(small: World, mode: str) -> None:
    """Through PgBouncer nothing begins, dry or not; by the server's own URL all moves."""
    users = {small.server.superuser: small.server.password}
    with Pooler(small.server, mode=mode, auth="scram-sha-256", users=users) as pooler:
        environ = {"DATABASE_URL": pooler.url()}
        for words in (["--dry-run"], []):
            refused = small.transfer(*words, environ=environ)
            assert refused.code == 10
            assert "goes through a pooler" in refused.failed()["error"]
            remedy = "Use --server to name the PostgreSQL server itself."
            assert refused.failed()["remedy"] == remedy
        assert small.databases() == {"postgres"}
        done = small.transfer("--server", small.server.url(), environ=environ)
        assert done.code == 0, done.err
    assert small.value("select count(*) from rpg_items", RPG_DB) == 500
    assert small.left() == []


def test_a_vacuum_full_that_waits_is_told_by_name(small: World) -> None:
    """Who waits to lock a table keeps all readers out: he is named, and the remedy ends it."""
    with reading(small) as reader:
        vacuum = maintaining(small, "vacuum full rpg_items", WAITS.format("rpg_items"))
        with vacuum:
            plan = small.transfer("--dry-run", "--json")
            assert plan.code == 0, plan.err
            [locked] = plan.json["obstacles"]
            assert (locked["name"], locked["allowable"]) == ("locked:rpg_items", False)
            assert "(maintenance, role postgres, from 127.0.0.1" in locked["message"]
            assert "waits for AccessExclusiveLock on rpg_items" in locked["message"]
            refused = small.transfer()
            assert (refused.code, refused.obstacles) == (10, ["locked:rpg_items"])
            [statement] = ENDS.findall(locked["remedy"])
            small.sql(statement)
        assert small.transfer("--dry-run", "--json").json["obstacles"] == []
        reader.rollback()
    assert small.left() == []
    small.moved()


@pytest.mark.parametrize("word", ["", "--undo"])
def test_a_backup_is_not_disturbed_and_who_makes_it_is_told(small: World, word: str) -> None:
    """While pg_dump reads, the plan is clean, a move gives up in time, and the backup is whole."""
    small.sql(
        "create table rpg_large (id int, v text);"
        " insert into rpg_large select i, repeat('x', 900) from generate_series(1, 3000) i"
    )
    if word:
        small.moved()
    table = "moved_gaqno_rpg_db_public.rpg_large" if word else "rpg_large"
    # Nobody reads on: it stays in the middle of the table.
    backup = subprocess.Popen(
        [str(small.tools / "pg_dump"), "-d", small.server.url()], stdout=subprocess.PIPE
    )
    try:
        until(lambda: small.sql(HELD.format("AccessShareLock", table)), "it reads")
        if not word:
            plan = small.transfer("--dry-run", "--json")
            assert (plan.code, plan.json["obstacles"]) == (0, []), plan.err
        refused = small.transfer(*filter(None, [word]))
        assert refused.code == 10
        assert "(pg_dump, role postgres" in refused.failed()["error"]
        assert "holds AccessShareLock on" in refused.failed()["error"]
        said, _ = backup.communicate(timeout=60)
    finally:
        backup.kill()
        backup.wait()
    assert backup.returncode == 0
    assert said.count(b"x" * 900) == 3000
    assert b"PostgreSQL database dump complete" in said
    assert small.left() == []
    done = small.transfer("--json", *filter(None, [word]))
    assert done.code == 0, done.err


@pytest.mark.parametrize("statement", ["analyze rpg_items", "lock rpg_items in share mode"])
def test_who_keeps_writers_or_maintenance_out_is_told(small: World, statement: str) -> None:
    """ANALYZE beside a plan changes nothing; the move waits for it no longer than it says."""
    with psycopg.connect(small.server.url(), application_name="maintenance") as connection:
        connection.execute(statement.encode())
        plan = small.transfer("--dry-run", "--json")
        assert (plan.code, plan.json["obstacles"]) == (0, []), plan.err
        done = small.transfer()
        assert done.code == 10
        assert "(maintenance, role postgres, from 127.0.0.1" in done.failed()["error"]
    small.moved()


def test_an_index_that_is_being_built_is_told(small: World) -> None:
    """CREATE INDEX CONCURRENTLY is waited for, and one that failed is mended as the remedy says."""
    statement = "create index concurrently rpg_more on rpg_items (name)"
    with reading(small) as reader:
        building = "select 1 from pg_locks where not granted and locktype = 'virtualxid'"
        with maintaining(small, statement, building):
            plan = small.transfer("--dry-run", "--json")
            assert plan.code == 0, plan.err
            [facts] = plan.json["obstacles"]
            assert (facts["name"], facts["allowable"]) == ("facts:rpg_items", False)
            assert "rpg_more of rpg_items is not valid" in facts["message"]
            assert "Wait if a session is building it" in facts["remedy"]
            small.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'maintenance'"
            )
        reader.rollback()
    refused = small.transfer()
    assert (refused.code, refused.obstacles) == (10, ["facts:rpg_items"])
    [mend] = re.findall(r"REINDEX INDEX [^ ,;]+", refused.failed()["remedy"])
    small.sql(mend)
    small.moved()
    assert small.value("select indisvalid from pg_index where indexrelid = 'rpg_more'::regclass",
                       RPG_DB)  # fmt: skip


def test_a_reader_that_stays_is_told_and_not_ended(small: World) -> None:
    """A transaction that read and is idle ends the move after a while, by name, not the other."""
    with reading(small) as reader:
        plan = small.transfer("--dry-run", "--json")
        assert (plan.code, plan.json["obstacles"]) == (0, []), plan.err
        refused = small.transfer()
        assert refused.code == 10
        pid = reader.info.backend_pid
        said = refused.failed()["error"]
        assert f"pid {pid} (a report, role postgres, from 127.0.0.1, since" in said
        assert "holds AccessShareLock on rpg_items" in said
        assert (small.left(), small.databases()) == ([], {"postgres"})
        assert reader.execute("select count(*) from rpg_items").fetchone() == (500,)
        [statement] = ENDS.findall(refused.failed()["remedy"])
        small.sql(statement)
        small.moved()


def test_a_subscriber_goes_on_after_an_undo(small: World, other: World) -> None:
    """A move is told whom it cuts off; nothing is lost for who subscribes when it is undone."""
    small.server.reload({"wal_level": "logical"})
    small.server.restart()
    small.sql("create publication rpg_pub for table rpg_items")
    url = small.server.url()
    other.sql(f"create subscription sub connection '{url}' publication rpg_pub")

    def arrived(count: int) -> None:
        until(lambda: other.value("select count(*) from rpg_items") == count, f"{count} rows")

    try:
        arrived(500)
        refused = small.transfer()
        assert (refused.code, refused.obstacles) == (10, ["publication:rpg_pub"])
        small.sql("insert into rpg_items (name) values ('before')")
        arrived(501)
        small.moved("--allow", "publication:rpg_pub", "--allow", "writers")
        small.sql("insert into rpg_items (name) values ('in the target')", RPG_DB)
        published = "select count(*) from pg_publication_tables where tablename = 'rpg_items'"
        assert small.value(published, RPG_DB) == 1
        undone = small.transfer("--undo")
        assert undone.code == 0, undone.err
        small.sql("insert into rpg_items (name) values ('after')")
        arrived(502)
        names = other.sql("select name from rpg_items where name !~ '^item' order by id")
        assert names == [("before",), ("after",)]
    finally:
        other.sql("drop subscription sub")
