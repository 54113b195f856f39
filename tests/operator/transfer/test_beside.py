"""Who is beside a transfer: those who write are named, and nobody waits in silence for a lock."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.operator.conftest import create_role
from tests.operator.transfer.conftest import RPG_DB, SMALL, World
from tests.support import versions
from tests.support.program import until
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTED = """
select sum(pg_stat_get_tuples_inserted(oid))::int from pg_class
where relname in ('rpg_items', 'dnd_rolls', 'sso_users')
"""

SMALL_ROWS = 601

PACE_S = 0.95
"""Seconds between two rows of a writer for whom no machine under load takes the time: of such a
one the oldest server tells something in as long as a plan counts."""

SSO = "gaqno-sso-service"


@pytest.fixture(scope="module", params=versions.ENDS)
def host(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each version, for the tests that move nothing."""
    if not versions.available(request.param):
        pytest.skip(versions.NO_NPM)
    settings = {"max_prepared_transactions": "5"}
    with Server.start(prefix=versions.prefix(request.param), settings=settings) as server:
        yield server


@pytest.fixture
def planned(host: Server, tmp_path: Path) -> Iterator[World]:
    """The two small tables of the service's on it, and another service's."""
    world = World.on(host, tmp_path)
    world.sql(SMALL)
    # As long as the server has not counted these rows, they look like somebody's who writes.
    until(lambda: world.value(COUNTED) == SMALL_ROWS, "the rows are counted")
    yield world
    world.close()
    world.sql("drop table rpg_items, dnd_rolls, sso_users cascade")


@contextmanager
def writing(
    world: World, *, name: str, every_s: float = 0, role: str = ""
) -> Iterator[list[float]]:
    """Somebody inserts, each row in a transaction of its own, for the time of the body; when."""
    stop, wrote, moments = threading.Event(), threading.Event(), list[float]()
    url = world.server.url("postgres", role or None, "its-password" if role else None)

    def work() -> None:
        with psycopg.connect(url, application_name=name, autocommit=True) as connection:
            while not stop.is_set():
                connection.execute("insert into rpg_items (name) values ('more')")
                moments.append(time.monotonic())
                wrote.set()
                stop.wait(every_s)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert wrote.wait(20)
        yield moments
    finally:
        stop.set()
        thread.join()


def writers(world: World, environ: dict[str, str] | None = None) -> str:
    """What a dry run says of writers; empty if it says nothing."""
    plan = world.transfer("--dry-run", "--json", environ=environ)
    assert plan.code == 0, plan.err
    found: list[dict[str, Any]] = plan.json["obstacles"]
    assert {each["name"] for each in found} <= {"writers"}
    assert all(each["allowable"] for each in found)
    return "".join(each["message"] for each in found)


@pytest.mark.parametrize("every_s", [0, 0.2, 0.9])
def test_who_writes_row_by_row_is_seen_every_time(planned: World, every_s: float) -> None:
    """A writer whose transactions are too short for a look is counted and named by each dry run."""
    seen = 0
    with writing(planned, name="a worker", every_s=every_s) as moments:
        while seen < 4:
            begun = len(moments) - 1
            said = writers(planned)
            during = [*moments[begun:], time.monotonic()]
            if max(b - a for a, b in pairwise(during)) > PACE_S:
                continue
            seen += 1
            assert "written to what moves in" in said
            assert "(rpg_items " in said
            assert "by a worker (role postgres, from 127.0.0.1)" in said


def test_three_writers_of_three_roles_are_told_apart(planned: World) -> None:
    """Each is named with its role; who reads only, writes elsewhere or does nothing is not."""
    for name in ("rpg_a", "rpg_b", "sso"):
        create_role(planned.server, f"{name}_role")
        planned.sql(f"grant connect on database postgres to {name}_role")
    planned.sql(
        "grant usage on schema public to public; grant usage on all sequences in schema"
        " public to rpg_a_role, rpg_b_role"
    )
    planned.sql(
        "grant insert on rpg_items to rpg_a_role, rpg_b_role; grant all on sso_users to sso_role"
    )
    try:
        with (
            writing(planned, name="api", role="rpg_a_role"),
            writing(planned, name="jobs", role="rpg_b_role"),
            writing(planned, name="jobs", role="rpg_b_role"),
            psycopg.connect(planned.server.url("postgres", "sso_role", "its-password")) as sso,
            psycopg.connect(planned.server.url(), application_name="a console"),
        ):
            sso.execute("select 1")
            said = writers(planned)
        assert "api (role rpg_a_role, from 127.0.0.1)" in said
        assert "jobs (role rpg_b_role, from 127.0.0.1) x 2" in said
        assert "connected and idle: a console (role postgres, from 127.0.0.1)" in said
        assert "sso_role" not in said
    finally:
        for name in ("rpg_a", "rpg_b", "sso"):
            planned.sql(f"drop owned by {name}_role; drop role {name}_role")


@pytest.fixture
def owner(planned: World) -> Iterator[str]:
    """The URL of the role that owns all that moves, and may do nothing more than it must."""
    url = create_role(planned.server, "rpg_owner", "createdb")
    planned.sql("grant create on database postgres to rpg_owner")
    for name in ("rpg_items", "dnd_rolls"):
        planned.sql(f"alter table {name} owner to rpg_owner")
    yield url
    planned.sql("reassign owned by rpg_owner to postgres; drop owned by rpg_owner")
    planned.sql("drop role rpg_owner")


def test_the_owner_names_writers_whose_doing_is_hidden(planned: World, owner: str) -> None:
    """A plain role sees no other's state: it is told what was written, and who might have."""
    environ = {"DATABASE_URL": owner}
    assert writers(planned, environ) == ""
    with (
        writing(planned, name="a worker"),
        psycopg.connect(planned.server.url(), application_name="a console"),
    ):
        said = writers(planned, environ)
        assert "written to what moves in" in said
        assert "(rpg_items " in said
        for name in ("a worker", "a console"):
            assert f"{name} (role postgres)" in said
        assert "idle" not in said
    until(lambda: writers(planned, environ) == "", "nobody writes")
    with (
        writing(planned, name="its own", role="rpg_owner"),
        psycopg.connect(planned.server.url(), application_name="a console"),
    ):
        said = writers(planned, environ)
        assert "by its own (role rpg_owner, from 127.0.0.1)" in said


@contextmanager
def locking(world: World, statement: str) -> Iterator[int]:
    """A transaction in which somebody runs a statement is open for the body; the pid."""
    with suppress(psycopg.errors.AdminShutdown), world.server.connect() as connection:
        connection.execute("set application_name = 'a migration'")
        connection.execute("begin")
        connection.execute(statement.encode())
        yield connection.info.backend_pid


@pytest.mark.parametrize("role", ["superuser", "owner"])
def test_a_plan_behind_a_lock_says_who_has_it(planned: World, owner: str, role: str) -> None:
    """An open ALTER TABLE is an obstacle by name, and the remedy's statement mends it."""
    environ = {} if role == "superuser" else {"DATABASE_URL": owner}
    with locking(planned, "alter table rpg_items add more text") as pid:
        looked = planned.transfer("--dry-run", "--json", environ=environ)
        assert looked.code == 0, looked.err
        refused = planned.transfer("--allow", "all", environ=environ)
        event = refused.failed()
        assert (refused.code, event["exit_code"]) == (10, 10)
        [found] = event["obstacles"]
        assert "locked:rpg_items" in [each["name"] for each in looked.json["obstacles"]]
        assert (found["name"], found["allowable"]) == ("locked:rpg_items", False)
        assert f"pid {pid} (a migration, role postgres" in found["message"]
        assert "holds AccessExclusiveLock on rpg_items" in found["message"]
        statement = f"SELECT pg_terminate_backend({pid})"
        assert statement in event["remedy"]
        planned.sql(statement)
        again = planned.transfer("--dry-run", environ=environ)
        assert again.code == 0, again.err


def test_a_prepared_transaction_is_told_by_its_name(planned: World) -> None:
    """What has no session is found as well: one that locks, and one that wrote."""
    for statement, said in (
        ("lock table rpg_items", "holds AccessExclusiveLock on rpg_items"),
        ("delete from rpg_items where id = 500", "holds RowExclusiveLock on rpg_items"),
    ):
        with planned.server.connect() as connection:
            connection.execute("begin")
            connection.execute(statement.encode())
            connection.execute("prepare transaction 'it''s forgotten'")
        try:
            plan = planned.transfer("--dry-run", "--json")
        finally:
            planned.sql("rollback prepared 'it''s forgotten'")
        text = plan.out + plan.err
        assert "the prepared transaction" in text
        assert "it's forgotten" in text.replace("\\", "")
        assert said in text
        assert plan.code == 0 or "ROLLBACK PREPARED 'it''s forgotten'" in text
    # What was rolled back is counted, too, and before PostgreSQL 15 a moment later.
    until(lambda: writers(planned) == "", "nobody writes")


def test_who_changes_rights_is_told_as_well(planned: World) -> None:
    """The move behind an open GRANT says whose it is, and nobody who writes waits long for that."""
    stop, failed = threading.Event(), []

    def write() -> None:
        with planned.server.connect() as connection:
            connection.execute("set lock_timeout = '5s'")
            while not stop.wait(0.05):
                try:
                    connection.execute("update dnd_rolls set rolled = 1 where item = 1")
                except psycopg.Error as error:
                    failed.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    with locking(planned, "grant usage on schema public to public") as pid:
        try:
            refused = planned.transfer("--allow", "writers")
        finally:
            stop.set()
            thread.join()
        assert failed == []
        assert refused.code == 10
        event = refused.failed()
        assert (
            f"pid {pid} (a migration, role postgres, from a local socket, since" in event["error"]
        )
        assert f"SELECT pg_terminate_backend({pid})" in event["remedy"]
    assert writers(planned) == ""
    assert planned.left() == []
    assert planned.databases() == {"postgres"}


def test_who_changes_the_same_rights_all_the_time_is_in_nobodys_way(planned: World) -> None:
    """The server refuses one of two GRANTs at once on one database, and the plan is made anyway."""
    stop, changed = threading.Event(), []

    def change() -> None:
        with planned.server.connect() as connection:
            while not stop.is_set():
                with suppress(psycopg.errors.InternalError_):
                    connection.execute("grant temp on database postgres to public")
                    changed.append(1)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(3):
            plan = planned.transfer("--dry-run", "--json")
            assert plan.code == 0, plan.err
    finally:
        stop.set()
        thread.join()
    assert len(changed) > 10
    assert planned.left() == []


def test_another_service_s_migration_holds_up_no_plan(planned: World) -> None:
    """Whose table stays may change it, and rebuild its indexes, while the plan is made."""
    for statement in ("alter table sso_users add more text", "reindex index sso_users_pkey"):
        with locking(planned, statement):
            plan = planned.transfer("--dry-run", "--json")
        assert (plan.code, plan.json["obstacles"]) == (0, []), plan.err


def test_a_migration_that_waits_itself_holds_up_no_plan(planned: World) -> None:
    """No plan is behind who waits to change a table of another service, in a quarantine or not."""

    def sso(*words: str) -> None:
        environ = planned.environ()
        done = planned.operator.start("transfer", SSO, "--yes", *words, environ=environ)
        assert done.wait() == 0, done.output

    def look(table: str) -> None:
        with (
            locking(planned, f"lock table {table} in access share mode"),
            planned.server.connect() as other,
            ThreadPoolExecutor(1) as pool,
        ):
            change = pool.submit(other.execute, f"alter table {table} add more text".encode())
            waits = "select count(*) from pg_locks where not granted"
            until(lambda: planned.value(waits) == 1, "somebody waits")
            plan = planned.transfer("--dry-run", "--json")
            other.cancel()
            assert isinstance(change.exception(), psycopg.errors.QueryCanceled)
        assert (plan.code, plan.json["obstacles"]) == (0, []), plan.err

    look("sso_users")
    sso()
    try:
        look("moved_gaqno_sso_db_public.sso_users")
    finally:
        sso("--undo")
        planned.sql("drop database gaqno_sso_db__undone")


def test_a_lock_in_the_target_is_told(planned: World) -> None:
    """Who changes a table of the database that would be replaced is named, not waited for."""
    planned.sql(f"create database {RPG_DB}")
    try:
        planned.sql("create table rpg_items (id int); insert into rpg_items values (1)", RPG_DB)
        with planned.server.connect(RPG_DB) as connection, connection.transaction():
            connection.execute("alter table rpg_items add more text")
            refused = planned.transfer("--dry-run")
            assert refused.code == 10
            pid = connection.info.backend_pid
            assert f"pid {pid} (no name, role postgres" in refused.failed()["error"]
            assert "holds AccessExclusiveLock on rpg_items" in refused.failed()["error"]
    finally:
        planned.sql(f"drop database {RPG_DB} with (force)")


def test_a_reader_is_not_kept_by_a_dry_run(planned: World) -> None:
    """Who reads and who changes the tables goes on while a plan is made."""
    program = planned.start("--dry-run")
    with planned.server.connect() as other:
        other.execute("set lock_timeout = '20s'")
        done = 0
        while program.process.poll() is None:
            other.execute("select count(*) from rpg_items")
            other.execute("update rpg_items set name = 'other' where id = 1")
            other.execute("alter table dnd_rolls alter rolled set not null")
            done += 1
    assert program.wait() in {0, 10}, program.output
    assert done > 1
