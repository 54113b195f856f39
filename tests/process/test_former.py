"""A database that the registry refuses is looked into before anybody leaves its rows behind."""

from __future__ import annotations

import re
import shlex
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.operator.transfer.conftest import World
from tests.support.program import Program
from tests.support.server import Server
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMER, RIGHT = "gaqno_finance", "gaqno_finance_db"
TODAY = (
    r"Set DATABASE_URL to \S+/gaqno_finance_db \(the password is masked here\) and start again\."
)
TABLES = """
create table finance_accounts (id int primary key, name text);
insert into finance_accounts values (1, 'cash'), (2, 'bank');
create table categories (id int primary key);
insert into categories values (1)
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """A server on which the registry's names are free, with the service's role."""
    with Server.start() as server:
        with server.connect() as connection:
            connection.execute("create role finance login createdb password 'finance-password'")
        yield server


@pytest.fixture
def finance(shared: Server, tmp_path: Path) -> Iterator[Stage]:
    """The registered service, whose DATABASE_URL names the team's former database."""
    stage = Stage(tmp_path, shared, FORMER, "finance", "finance-password")
    stage.environ = {"ENTRYPOINT_SERVICE": "gaqno-finance-service", "ENTRYPOINT_SKIP": "seed"}
    yield stage
    for program in stage.started:
        program.wait()
    with shared.connect() as connection:
        for name in (FORMER, RIGHT, "gaqno_rpg_db"):
            connection.execute(f"drop database if exists {name} with (force)".encode())
        connection.execute("drop table if exists finance_accounts, categories, rpg_items")


def filled(stage: Stage, database: str = FORMER, script: str = TABLES) -> None:
    """Make the service's database of that name, and its tables."""
    with closing(psycopg.connect(url(stage, "postgres"), autocommit=True)) as connection:
        if database != "postgres":
            connection.execute(f"create database {database}".encode())
    with closing(psycopg.connect(url(stage, database), autocommit=True)) as connection:
        connection.execute(script.encode())


def url(stage: Stage, database: str) -> str:
    return stage.server.url(database, stage.user, stage.password)


def refused(stage: Stage) -> tuple[str, str]:
    """Why the start ended, and what to do; nothing is created."""
    program = stage.start()
    assert program.wait() == 3, program.output
    failure = program.one("settings.failed")
    assert "wait.started" not in program.names()
    assert stage.password not in program.output
    return failure["error"], failure["remedy"]


def moved(stage: Stage, remedy: str, **environ: str) -> None:
    """Do the transfer that a remedy names, and agree."""
    found = re.search(r"entrypoint (transfer .*?)(?:; then|, or)", remedy)
    assert found, remedy
    environ = {
        "DATABASE_URL": stage.url,
        **World.on(stage.server, stage.directory).environ(),  # type: ignore[arg-type]
        **environ,
    }
    words = [*shlex.split(found[1]), "--yes"]
    program = Program.start(*words, environ=environ, directory=stage.directory)
    assert program.wait(60) == 0, program.output


def start_with_rows(stage: Stage, *names: str) -> None:
    """The start with the corrected URL passes, and the one after it; the rows are there."""
    stage.database = RIGHT
    for _ in range(2):
        program = stage.start()
        assert program.wait() == 0, program.output
        assert "database.created" not in program.names()
    with stage.connect() as connection:
        for name in names:
            assert connection.execute(f"select from {name}".encode()).rowcount > 0


def test_a_former_database_is_renamed(finance: Stage) -> None:
    """The remedy's ALTER DATABASE, by the owner, brings all tables with it."""
    filled(finance)
    error, remedy = refused(finance)

    assert "it has 2 tables of gaqno-finance-service, such as" in error
    assert "then set DATABASE_URL to postgresql://finance:****@" in remedy
    [rename] = re.findall(r"ALTER DATABASE \S+ RENAME TO \S+", remedy)
    with closing(psycopg.connect(url(finance, "postgres"), autocommit=True)) as connection:
        connection.execute(rename.encode())
    start_with_rows(finance, "finance_accounts", "categories")


def test_a_former_database_is_transferred(finance: Stage) -> None:
    """Where the right database is there already, no rename is named; the transfer moves all."""
    filled(finance)
    filled(finance, RIGHT, "select")
    _, remedy = refused(finance)

    assert "RENAME" not in remedy
    assert "--from gaqno_finance --with categories; then" in remedy
    moved(finance, remedy)
    start_with_rows(finance, "finance_accounts", "categories")


def test_the_default_database_is_left_by_a_transfer(finance: Stage) -> None:
    """`postgres` with the service's tables: those are named and moved, nobody else's are."""
    with finance.server.connect() as connection:
        connection.execute("grant create on schema public to finance")
        connection.execute("grant create on database postgres to finance")
        connection.execute("create table rpg_items (id int)")
    filled(finance, "postgres")
    finance.database = "postgres"
    error, remedy = refused(finance)

    assert "it has 1 table of gaqno-finance-service, such as 'finance_accounts'" in error
    assert remedy.startswith("Run entrypoint transfer gaqno-finance-service --from postgres; then")
    moved(finance, remedy)
    start_with_rows(finance, "finance_accounts")
    finance.database = "postgres"
    assert "finance_accounts" not in refused(finance)[0]


def test_many_tables_without_a_prefix(finance: Stage) -> None:
    """A command that would be too long says what to add to it."""
    filled(
        finance,
        FORMER,
        "create table t0(); create table t1(); create table t2(); "
        "create table t3(); create table t4(); create table t5()",
    )
    error, remedy = refused(finance)

    assert "it has 6 tables, such as 't0'" in error
    assert "--from gaqno_finance and --with for each of 6 tables without a prefix" in remedy


def test_a_database_without_tables_is_left_as_before(finance: Stage) -> None:
    """Missing or empty: the corrected URL is all there is to say."""
    for make in (False, True):
        if make:
            filled(finance, FORMER, "create view finance_v as select 1")
        error, remedy = refused(finance)
        assert "but the registry gives gaqno-finance-service 'gaqno_finance_db'; " in error
        assert "tables" not in error
        assert re.fullmatch(TODAY, remedy)


def test_another_service_s_database_is_not_looked_into(finance: Stage) -> None:
    """What lies there is that service's, whatever it is called."""
    filled(finance, "gaqno_rpg_db")
    finance.database = "gaqno_rpg_db"
    error, remedy = refused(finance)

    assert "which belongs to gaqno-rpg-service, not to gaqno-finance-service; " in error
    assert remedy.endswith(
        "; or, if this is gaqno-rpg-service, set ENTRYPOINT_SERVICE=gaqno-rpg-service, "
        "and start again."
    )


def test_who_may_not_look_is_told_to_look(finance: Stage) -> None:
    """A password that the server refuses, and a server that is not there: exit 3 all the same."""
    filled(finance)
    for wrong, why in (
        (finance.url.replace("finance-password", "another"), "28P01"),
        (re.sub(r":\d+/", ":1/", finance.url), "127.0.0.1:1"),
    ):
        finance.environ["DATABASE_URL"] = wrong
        error, remedy = refused(finance)
        assert "the start could not look for tables of the service" in error
        assert why in error + remedy
        assert remedy.startswith("Check first whether 'gaqno_finance' at 127.0.0.1:")
        assert "then set DATABASE_URL to" in remedy


def test_a_silent_server_is_not_waited_for(finance: Stage) -> None:
    """The start has failed already: a few seconds, one attempt."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        finance.environ["DATABASE_URL"] = re.sub(r":\d+/", f":{port}/", finance.url)
        began = time.monotonic()
        error, _ = refused(finance)
        assert time.monotonic() - began < 20

    assert "no answer" in error


def test_two_thousand_tables_of_which_one_is_locked(finance: Stage) -> None:
    """Somebody's ACCESS EXCLUSIVE lock keeps nobody from seeing that tables are there."""
    filled(
        finance,
        FORMER,
        "do $$ begin for i in 1..2000 loop "
        "execute format('create table finance_t%s (id int)', i); end loop; end $$",
    )
    with finance.connect() as holder:
        holder.execute("begin")
        holder.execute("lock table finance_t1000 in access exclusive mode")
        error, remedy = refused(finance)
        holder.execute("rollback")

    assert "it has 2000 tables of gaqno-finance-service" in error
    assert "RENAME TO" in remedy
