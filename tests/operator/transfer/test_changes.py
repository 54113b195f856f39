"""What changes between a plan and its locks is found, though nearly nothing is read again."""

from __future__ import annotations

import inspect
import re
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import conninfo_to_dict

from entrypoint.config.conninfo import Conninfo
from entrypoint.postgres.session import Session, open_session
from entrypoint.postgres.sql import load_sql
from entrypoint.transfer import request, source
from tests.operator.conftest import answer
from tests.operator.transfer.conftest import RPG_DB, World
from tests.support import versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.support.program import Program
    from tests.support.server import Server

OBJECTS = """
create schema game; create extension pg_trgm;
create role someone; create role another;
create type game.rarity as enum ('rare');
create domain game.level as int;
create table rpg_items (id serial primary key, name text default 'x', at int);
create table rpg_parts (id int, item int) partition by range (id);
create table rpg_part partition of rpg_parts default;
create table rpg_alone (id int, item int);
create table sso_users (id int, name text);
create view rpg_names as select name from rpg_items;
create function rpg_f(a int) returns int language sql as 'select 1';
create function rpg_t() returns trigger language plpgsql as 'begin return new; end';
create function rpg_e() returns event_trigger language plpgsql as 'begin end';
create publication everything for table sso_users
"""

CHANGES = (
    "create table sso_new (id int)",
    "create view sso_names as select name from rpg_items",
    "create sequence sso_no",
    "drop table sso_users cascade",
    "drop view rpg_names",
    "alter table sso_users rename to sso_people",
    "alter table sso_users rename name to nick",
    "alter table sso_users add more text",
    "alter table sso_users drop name",
    "alter table sso_users set schema game",
    "alter table rpg_items alter name set default 'y'",
    "alter table rpg_items alter name drop default",
    "alter table rpg_items owner to someone",
    "alter table rpg_items enable row level security, force row level security",
    "alter table rpg_items add constraint positive check (id > 0)",
    "alter table sso_users add foreign key (id) references rpg_items",
    "alter table rpg_parts detach partition rpg_part",
    "alter table rpg_parts attach partition rpg_alone for values from (1) to (2)",
    "alter sequence rpg_items_id_seq owned by none",
    "create index on rpg_items (name)",
    "create statistics rpg_s on id, at from rpg_items",
    "create trigger stamp before insert on sso_users for each row execute function rpg_t()",
    "create policy seen on rpg_items using (true)",
    "create rule also as on insert to sso_users do also nothing",
    "create or replace view rpg_names as select name || '!' as name from rpg_items",
    "create or replace function rpg_f(a int) returns int language sql as 'select 2'",
    "create function rpg_f(a text) returns int language sql as 'select 2'",
    "alter function rpg_f rename to sso_f",
    "alter function rpg_f owner to someone",
    "drop function rpg_f",
    "create type sso_kind as enum ('a')",
    "alter type game.rarity rename to rpg_rarity",
    "create type sso_span as range (subtype = int)",
    "alter domain game.level owner to someone",
    "create cast (game.rarity as int) with inout",
    "create operator === (leftarg = int, rightarg = int, procedure = int4eq)",
    'create collation game.c from "C"',
    "create text search configuration game.t (copy = simple)",
    "create publication more for all tables",
    "alter publication everything add table rpg_items",
    "create extension citext",
    "create access method own type index handler bthandler",
    "create schema other",
    "alter schema game rename to games",
    "comment on schema game is 'whatever it is'",
    "create foreign data wrapper wrapper",
    "create event trigger watching on ddl_command_end execute function rpg_e()",
    "select lo_create(0)",
    "alter database looked_at set work_mem = '5MB'",
    "alter database looked_at owner to someone",
    "alter role someone rename to anyone",
    "alter role someone superuser",
)
"""One of each kind that a plan may depend on."""

NO_CHANGES = (
    "insert into rpg_items (name) values ('more')",
    "grant select on all tables in schema public to another",
    "grant usage on schema game to another",
    "grant execute on function rpg_f to another",
    "create role entrypoint_transfer_0123456789abcdef login",
)
"""Rows, what the server notes, and what a transfer does itself between its plan and its locks."""

CATALOG = re.compile(r"\b(?:from|join) (pg_(?!identify|describe|get_)\w+)\b(?!\()")


@pytest.fixture(scope="module", params=versions.ENDS, ids=str)
def host(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each version, for the whole module."""
    with versions.started(request.param) as server:
        yield server


@pytest.fixture
def looking(host: Server) -> Iterator[Session]:
    """A session of ours in a database with one of each."""
    with host.connect() as connection:
        connection.execute("create database looked_at")
        with host.connect("looked_at") as inside:
            inside.execute(OBJECTS.encode())
        params = {key: str(each) for key, each in conninfo_to_dict(host.url("looked_at")).items()}
        with closing(open_session(Conninfo(params), 5, application_name="test")) as session:
            yield session
        connection.execute("drop database looked_at with (force)")
        connection.execute("drop role someone, another")


def differs(session: Session, statement: str) -> bool:
    """Whether a statement of somebody's, which is undone again, makes another digest."""
    before = request.digest(session)
    with session.transaction(names="public", undone=True):
        session.connection.execute(statement.encode())
        return request.digest(session) != before


def test_every_kind_of_change_is_noticed(looking: Session) -> None:
    """Whatever a plan is made of, the digest is another one after it was changed."""
    assert [each for each in CHANGES if not differs(looking, each)] == []


def test_what_a_transfer_does_itself_is_no_change(looking: Session) -> None:
    """Rows, rights on what moves, and roles of a transfer's own leave the digest as it was."""
    assert [each for each in NO_CHANGES if differs(looking, each)] == []


def test_a_vacuum_is_no_change(looking: Session) -> None:
    """The server notes sizes and freezes rows all the time, which makes no plan another one."""
    before = request.digest(looking)
    looking.connection.execute("vacuum (freeze, analyze)")
    assert request.digest(looking) == before


def test_a_plan_reads_no_catalog_that_the_digest_does_not_know() -> None:
    """Who lets a plan read one more catalog lets the digest be of it, too."""
    code = inspect.getsource(source)
    texts = " ".join(map(load_sql, re.findall(r'"((?:postgres|transfer)/\w+)"', code)))
    read = {*CATALOG.findall(texts)}
    assert {"pg_class", "pg_depend", "pg_policy"} <= read
    # Who has locked what decides whether a size is told, and nothing of what moves.
    assert read - request.CATALOGS == {"pg_locks"}


@contextmanager
def keeping(small: World, *words: str) -> Iterator[tuple[psycopg.Connection, Program]]:
    """A transfer that waits for somebody's lock when it has its plan, and who has the lock."""
    with small.server.connect() as connection:
        connection.execute("begin")
        connection.execute("lock table rpg_items in row exclusive mode")
        transfer = small.start("--allow", "all", *words)
        waits = "select pid from pg_locks where not granted and mode = 'ShareLock'"
        deadline = time.monotonic() + 60
        while not small.sql(waits):
            assert time.monotonic() < deadline
            assert transfer.process.poll() is None
        yield connection, transfer


@pytest.mark.parametrize(
    "statement",
    [
        "create view sso_names as select name from rpg_items",
        "create table rpg_late (id int)",
        "create function sso_f() returns rpg_items language sql as 'select * from rpg_items'",
    ],
    ids=["view", "table", "function"],
)
def test_what_comes_between_plan_and_locks_is_not_passed_over(small: World, statement: str) -> None:
    """A new table of the service's, or a new need of another's, ends the move; nothing is left."""
    with keeping(small) as (connection, transfer):
        connection.execute(statement.encode())
        connection.execute("commit")
        refused = answer(transfer)
    assert refused.code == 10
    event = refused.failed()
    assert event["error"].startswith("another session has created or dropped tables")
    assert event["remedy"] == "Run the transfer again."
    assert RPG_DB not in small.databases()
    assert small.left() == []
    assert small.value("select count(*) from rpg_items") == 500


def test_what_changes_between_plan_and_locks_moves_as_it_is(small: World) -> None:
    """A column, an index and a row that came while the transfer waited are in the target."""
    with keeping(small) as (connection, transfer):
        connection.execute("alter table rpg_items add more text default 'yes'")
        connection.execute("create index rpg_more on rpg_items (more)")
        connection.execute("insert into rpg_items (name) values ('late')")
        connection.execute("commit")
        moved = answer(transfer)
    assert moved.code == 0, moved.err
    assert small.value("select count(*) from rpg_items where more = 'yes'", RPG_DB) == 501
    assert small.value("select to_regclass('rpg_more') is not null", RPG_DB)
