"""What the owner of a table defines is evaluated by a transfer, but never with anybody's rights."""

from __future__ import annotations

import json
import re
import signal
import threading
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from psycopg import sql

from tests.operator.conftest import create_role
from tests.operator.transfer.conftest import RPG, RPG_DB, World, allowing
from tests.support import versions
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD: Final = "mallory's own"

SPY: Final = """
create role mallory login password 'mallory''s own';
create schema mallory authorization mallory;
set session authorization mallory;
create function mallory.strike(kind text) returns void language plpgsql as $$
declare mighty bool;
begin
  select bool_or(rolsuper) into mighty from pg_catalog.pg_roles
  where rolname in (session_user, current_user);
  raise warning 'spied % session=% current=% mighty=%', kind, session_user, current_user, mighty;
  if mighty then
    begin execute 'reset role'; exception when others then null; end;
    begin execute 'reset session authorization'; exception when others then null; end;
    begin execute 'alter role mallory superuser'; exception when others then null; end;
  end if;
end$$;
create function mallory.spy(kind text, a int default 1) returns int immutable language plpgsql as
  $$begin perform mallory.strike(kind); return a; end$$;
create function mallory.fire() returns trigger language plpgsql as
  $$begin perform mallory.strike(tg_argv[0]); return new; end$$;
reset session authorization;
"""
"""Whoever evaluates it is in the server's log, also from a transaction that wrote nothing."""

KINDS: Final = {
    "check": (
        "create table rpg_check (a int check (mallory.spy('check', a) = a))",
        "insert into {} values (1)",
    ),
    "index": (
        "create table rpg_index (a int); create index on rpg_index (mallory.spy('index', a))",
        "insert into {} values (1)",
    ),
    "constant": (
        "create table rpg_constant (a int); create index on rpg_constant (mallory.spy('constant'))",
        "select count(*) from {}",
    ),
    "predicate": (
        (
            "create table rpg_predicate (a int);"
            " create index on rpg_predicate (a) where mallory.spy('predicate') = 1"
        ),
        "select count(*) from {}",
    ),
    "generated": (
        (
            "create table rpg_generated"
            " (a int, b int generated always as (mallory.spy('generated', a)) stored)"
        ),
        "insert into {} values (1)",
    ),
    "default": (
        "create table rpg_default (a int, b int default mallory.spy('default'))",
        "insert into {} values (1)",
    ),
    "domain": (
        (
            "create domain mallory.rpg_word as int check (mallory.spy('domain', value) = value);"
            " create table rpg_domain (a mallory.rpg_word)"
        ),
        "insert into {} values (1)",
    ),
    "insert": (
        (
            "create table rpg_insert (a int); create trigger t before insert on rpg_insert"
            " for each row execute function mallory.fire('insert')"
        ),
        "insert into {} values (1)",
    ),
    "truncate": (
        (
            "create table rpg_truncate (a int); create trigger t before truncate on rpg_truncate"
            " execute function mallory.fire('truncate')"
        ),
        "truncate {}",
    ),
    "deferred": (
        (
            "create table rpg_deferred (a int);"
            " create constraint trigger t after insert on rpg_deferred deferrable"
            " initially deferred for each row execute function mallory.fire('deferred')"
        ),
        "insert into {} values (1)",
    ),
    "rule": (
        (
            "create table rpg_rule (a int);"
            " create rule r as on insert to rpg_rule do also select mallory.spy('rule', new.a)"
        ),
        "insert into {} values (1)",
    ),
    "policy": (
        (
            "create table rpg_policy (a int); alter table rpg_policy enable row level security,"
            " force row level security;"
            " create policy p on rpg_policy using (mallory.spy('policy') = 1)"
        ),
        (
            "create role plain superuser nobypassrls; set role mallory; select count(*) from {};"
            " reset role; select mallory.strike('policy'); drop role plain"
        ),
    ),
    "view": (
        "create view rpg_view as select mallory.spy('view')",
        "select * from {}",
    ),
    "materialized": (
        (
            "create table rpg_rows (a int); insert into rpg_rows values (1);"
            " create materialized view rpg_materialized as"
            " select mallory.spy('materialized', a) from rpg_rows"
        ),
        "refresh materialized view {}",
    ),
    "operator": (
        (
            "create function mallory.same(int, int) returns bool immutable language plpgsql as"
            " $$begin perform mallory.strike('operator'); return true; end$$;"
            " create operator mallory.=== (leftarg = int, rightarg = int, function = mallory.same);"
            " create table rpg_operator (a int check (a operator(mallory.===) a))"
        ),
        "insert into {} values (1)",
    ),
    "cast": (
        (
            "create type mallory.rpg_pair as (a int, b int);"
            " create function mallory.words(mallory.rpg_pair) returns text immutable"
            " language plpgsql"
            " as $$begin perform mallory.strike('cast'); return 'x'; end$$;"
            " create cast (mallory.rpg_pair as text) with function mallory.words(mallory.rpg_pair);"
            " create table rpg_cast (a mallory.rpg_pair); insert into rpg_cast values (row(1, 2))"
        ),
        "select a::text from {}",
    ),
    "aggregate": (
        (
            "create function mallory.step(int, int) returns int immutable language plpgsql as"
            " $$begin perform mallory.strike('aggregate'); return 1; end$$;"
            " create aggregate mallory.rpg_sum (int)"
            " (sfunc = mallory.step, stype = int, initcond = '0');"
            " create materialized view rpg_aggregate as select mallory.rpg_sum(1)"
        ),
        "refresh materialized view {}",
    ),
    "range": (
        (
            "create function mallory.gap(float8, float8) returns float8 immutable"
            " language plpgsql as"
            " $$begin perform mallory.strike('range'); return $1 - $2; end$$;"
            " create type mallory.rpg_span as range (subtype = float8, subtype_diff = mallory.gap);"
            " create table rpg_range (a mallory.rpg_span);"
            " insert into rpg_range"
            " select mallory.rpg_span(i, i + 1) from generate_series(1, 500) i;"
            " create index on rpg_range using gist (a)"
        ),
        "insert into {} select mallory.rpg_span(i, i + 1) from generate_series(1, 500) i",
    ),
    "statistics": (
        (
            "create table rpg_statistics (a int);"
            " create statistics mallory.rpg_stats on (mallory.spy('statistics')), a"
            " from rpg_statistics; insert into rpg_statistics select generate_series(1, 100)"
        ),
        "analyze {}",
    ),
    "partition": (
        (
            "create table rpg_partition (a int)"
            " partition by list ((a + mallory.spy('partition') - mallory.spy('partition')));"
            " create table rpg_partition_1 partition of rpg_partition for values in (1)"
        ),
        "insert into {} values (1)",
    ),
}
"""What each is made with, and what makes a superuser's session evaluate it."""

SEEN: Final = {
    "check",
    "index",
    "constant",
    "predicate",
    "generated",
    "domain",
    "materialized",
    "operator",
    "aggregate",
    "statistics",
}
"""What a transfer cannot but evaluate."""

AGREED: Final = ("--allow", "writers")
"""Before PostgreSQL 15 rows that were made a moment ago are counted late, as if somebody wrote."""

STILL: Final = {"autovacuum": "off"}
"""The server's own worker evaluates what it analyzes, as the owner, in a superuser's session."""

ROLES: Final = """
select r.rolname, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolbypassrls, r.rolreplication,
  a.rolpassword, array(select roleid::regrole::text from pg_auth_members where member = r.oid)
from pg_roles r join pg_authid a on a.oid = r.oid order by 1
"""


class Log:
    """What the spies of a server said since it was made."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.start = world.server.log.stat().st_size
        self.roles = world.sql(ROLES)

    def lines(self) -> list[tuple[str, str, str]]:
        """Kind, who was the session's user, and whether that or the current one was mighty."""
        text = self.world.server.log.read_bytes()[self.start :].decode()
        return re.findall(r"WARNING:  spied (\w+) session=(\S+) current=\S+ mighty=(\w)", text)

    def check(self) -> set[str]:
        """Nobody mighty was there, and no role is another than before; what was evaluated."""
        found = self.lines()
        assert [line for line in found if line[2] != "f"] == []
        assert {who for _, who, _ in found} <= {
            who for _, who, _ in found if who.startswith("entrypoint_transfer_")
        }
        assert self.world.sql(ROLES) == self.roles
        assert [each for each in self.world.left() if each.startswith("entrypoint_")] == []
        return {kind for kind, _, _ in found}


def as_mallory(world: World, statements: str) -> None:
    url = world.server.url("postgres", "mallory", PASSWORD)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set search_path = mallory")
        connection.execute(statements.encode())


def fill(world: World) -> None:
    """Everything of `KINDS`, with a row in each table that has none."""
    world.sql(SPY)
    for kind, (make, _) in KINDS.items():
        as_mallory(world, make)
        if kind not in ("view", "materialized", "aggregate", "cast", "range", "statistics"):
            as_mallory(world, f"insert into rpg_{kind} values (1)")  # noqa: S608  our own names


@pytest.fixture(params=versions.ENDS)
def major(request: pytest.FixtureRequest) -> int:
    """The version of the test's servers."""
    if not versions.available(request.param):
        pytest.skip(versions.NO_NPM)
    return int(request.param)


@pytest.fixture
def world(major: int, tmp_path: Path) -> Iterator[World]:
    """A server of the test's own, of each version."""
    with Server.start(prefix=versions.prefix(major), settings=STILL) as server:
        made = World.on(server, tmp_path)
        yield made
        made.close()


@pytest.fixture
def other(major: int, tmp_path: Path) -> Iterator[World]:
    """Another server, on which there is a role of the attacker's name."""
    with Server.start(prefix=versions.prefix(major), settings=STILL) as server:
        (tmp_path / "other").mkdir()
        world = World.on(server, tmp_path / "other")
        world.sql("create role mallory login")
        yield world


def test_nothing_is_evaluated_by_a_superuser(world: World, other: World) -> None:
    """Online, back by --undo and to another server, all is evaluated by roles that may nothing."""
    fill(world)
    log = Log(world)
    world.moved(*AGREED)
    assert log.check() >= SEEN
    log = Log(world)
    assert world.transfer("--undo").code == 0
    # Both sides' rows are counted before the question, and to plan that evaluates constants.
    assert log.check() <= SEEN
    log, there = Log(world), Log(other)
    world.moved("--to", other.server.url(), *AGREED)
    log.check()
    assert there.check() >= SEEN
    query = "select count(*) from mallory.rpg_range where tableoid > 0"
    assert other.value(query, RPG_DB) == 500
    owners = "select distinct tableowner from pg_tables where schemaname = 'mallory'"
    assert other.sql(owners, RPG_DB) == [("mallory",)]


def test_a_dry_run_evaluates_as_nobody(world: World) -> None:
    """What tries the expressions before anything is agreed to is a role that may nothing, too."""
    fill(world)
    log = Log(world)
    assert world.transfer("--dry-run", "--json").code == 0
    assert log.check() >= {"check", "index", "generated"}


@pytest.mark.parametrize("words", [("--dry-run", "--json"), ("--yes",)])
def test_a_role_that_the_database_sets(world: World, words: tuple[str, ...]) -> None:
    """A superuser whose sessions the source's owner gives a role does not evaluate as himself."""
    fill(world)
    log = Log(world)
    with world.server.connect("template1") as connection:
        connection.execute("alter role mallory createdb")
        connection.execute("grant create on database postgres to mallory")
        connection.execute("alter database postgres set role = mallory")
        answer = world.transfer(*words, *AGREED)
        connection.execute("alter database postgres reset role")
        connection.execute("alter role mallory nocreatedb")
    assert answer.code == 0, answer.err
    assert log.check() >= {"check", "index", "generated"}


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server on which superusers do what a transfer does not."""
    with Server.start() as server:
        world = World.on(server, tmp_path_factory.mktemp("victim"))
        fill(world)
        yield world


@pytest.mark.parametrize("kind", list(KINDS))
def test_control_a_superuser_who_evaluates_it_is_seen(victim: World, kind: str) -> None:
    """The same content is evaluated with a superuser's rights where a superuser touches it."""
    log = Log(victim)
    victim.sql(KINDS[kind][1].format(f"mallory.rpg_{kind}"))
    assert (kind, "postgres", "t") in log.lines()
    victim.sql("alter role mallory nosuperuser")


def test_control_a_plain_restore_makes_the_attacker_superuser(victim: World) -> None:
    """Restored by a superuser with PostgreSQL's own tools the content takes the server."""
    victim.sql("alter role mallory nosuperuser")
    victim.sql("create database restored")
    folder = victim.temp / "plain"
    victim.tool("pg_dump", "-Fd", "-f", str(folder), database="postgres")
    victim.tool("pg_restore", str(folder), database="restored")
    assert victim.value("select rolsuper from pg_roles where rolname = 'mallory'") is True
    victim.sql("alter role mallory nosuperuser")


EVENTS: Final = """
create function mallory.on_ddl() returns event_trigger language plpgsql as
  $$begin perform mallory.strike('event'); end$$;
alter function mallory.on_ddl() owner to mallory;
create table mallory.rpg_ddl (a int);
alter table mallory.rpg_ddl owner to mallory;
create event trigger on_ddl on ddl_command_end execute function mallory.on_ddl()
"""


def test_no_event_trigger_runs_as_the_operator(world: World) -> None:
    """One whose function is the attacker's goes along, and fires at nothing that we do."""
    world.sql(f"{SPY}; {EVENTS}")
    log = Log(world)
    world.moved(*AGREED)
    assert world.transfer("--undo").code == 0
    assert log.check() == set()
    assert world.value("select count(*) from pg_event_trigger", f"{RPG_DB}__undone") == 1
    world.sql("create table mallory.rpg_more (a int)")
    assert ("event", "postgres", "t") in log.lines()  # the control


def test_an_event_trigger_that_fires_always_is_refused(world: World) -> None:
    """Before PostgreSQL 17 nothing turns it off, so it is named; since then it is off."""
    world.sql(f"{SPY}; {EVENTS}")
    world.sql("alter event trigger on_ddl enable always")
    log = Log(world)
    done = world.transfer("--json", *AGREED)
    if world.value("select current_setting('server_version_num')::int") < 170000:
        assert done.obstacles == ["event_trigger:on_ddl"]
        world.sql("alter event trigger on_ddl enable")
        log = Log(world)
        done = world.transfer("--json", *AGREED)
    assert done.code == 0, done.err
    assert log.check() == set()
    old = world.value("select current_setting('server_version_num')::int") < 170000
    world.sql("alter event trigger on_ddl enable always")
    log = Log(world)
    undone = world.transfer("--undo")
    assert undone.code == (10 if old else 0), undone.err
    assert log.check() == set()


SMUGGLE: Final = """
create function mallory.smuggle() returns int language plpgsql as $$
begin
  if session_user like 'entrypoint_transfer_%%' then
    execute {};
  end if;
  return 1;
exception when others then return 1;
end$$;
create function mallory.carry(a int) returns int immutable language plpgsql as
  'begin perform mallory.smuggle(); return a; end';
create table mallory.rpg_carrier (a int check (mallory.carry(a) = a));
insert into mallory.rpg_carrier values (1)
"""

MIGHTY: Final = (
    "create {} function {}() returns int language plpgsql security definer as"
    " $x$begin execute 'alter role mallory superuser'; return 1; end$x$"
)


@pytest.mark.parametrize("name", ["mallory.rpg_new", "public.sso_secret"], ids=["new", "others"])
def test_what_content_makes_in_the_target_gets_no_owner(world: World, name: str) -> None:
    """A function that the restored content makes never becomes a superuser's to call."""
    world.sql(f"{SPY}; create function sso_secret() returns int language sql as 'select 1'")
    make = sql.Literal(MIGHTY.format("", name)).as_string()
    as_mallory(world, SMUGGLE.replace("%%", "%").format(make))
    log = Log(world)
    done = world.transfer(*AGREED)
    if name == "public.sso_secret":
        # The writer may make it, or the server does not let it: in no case is it there.
        assert done.code in (0, 10)
    else:
        assert done.code == 10
        assert "created 1 object " in done.err
    log.check()
    if done.code == 0:
        there = "select count(*) from pg_proc where prosecdef and prosrc ~ 'superuser'"
        assert world.value(there, RPG_DB) == 0


def test_what_content_changes_in_the_target_is_found(world: World) -> None:
    """Another body for somebody's function, put there by the restored content, ends the move."""
    world.sql(f"{SPY}; create function rpg_trusted() returns int language sql as 'select 1'")
    make = sql.Literal(MIGHTY.format("or replace", "public.rpg_trusted")).as_string()
    as_mallory(world, SMUGGLE.replace("%%", "%").format(make))
    log = Log(world)
    done = world.transfer(*AGREED, *allowing("function:mallory.smuggle()"))
    assert done.code == 10
    assert "source and target differ in " in done.err
    log.check()


LINGER: Final = """
create function mallory.linger(a int) returns int language plpgsql as $$
begin
  if session_user like 'entrypoint_transfer_%' and a = 1 then
    execute format('alter role %I password %L', session_user, 'known');
  elsif current_database() ~ '__incoming' then
    for i in 1 .. 2000 loop
      perform pg_stat_clear_snapshot();
      exit when exists (select from pg_stat_activity where application_name = 'an intruder');
      perform pg_sleep(0.01);
    end loop;
  end if;
  return 1;
exception when read_only_sql_transaction then return 1;
end$$;
create function mallory.stay(a int) returns int immutable language plpgsql as
  'begin perform mallory.linger(a); return a; end';
create table mallory.rpg_lingers (a int, b text check (mallory.stay(a) = a));
insert into mallory.rpg_lingers values (1, 'true');
create table mallory.rpg_waits (a int check (mallory.stay(a) = a));
insert into mallory.rpg_waits values (2)
"""
"""One table gives the writer another password, the other keeps the restore busy until he is in."""


class Intruder:
    """Logs in as a transfer's roles, by the password that the content gave them, and stays."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.came: set[str] = set()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        inside: list[psycopg.Connection] = []
        while not self.stop.wait(0.02):
            names = self.world.sql(
                "select rolname from pg_roles where starts_with(rolname, 'entrypoint_transfer_')"
            )
            for (name,) in names:
                try:
                    url = self.world.server.url(f"{RPG_DB}__incoming", name, "known")
                    inside.append(
                        psycopg.connect(url, application_name="an intruder", autocommit=True)
                    )
                except psycopg.Error:
                    continue
                self.came.add(name)
            for connection in inside:
                try:
                    connection.execute("update mallory.rpg_lingers set b = 'false'")
                except psycopg.Error:
                    continue
        for connection in inside:
            connection.close()

    def end(self) -> None:
        """Leave."""
        self.stop.set()
        self.thread.join()


def test_a_password_that_content_sets_opens_nothing_for_long(world: World) -> None:
    """Who logs in as the writer is thrown out before the comparison, which sees what he did."""
    world.sql(SPY)
    as_mallory(world, LINGER)
    log = Log(world)
    intruder = Intruder(world)
    try:
        done = world.transfer(*AGREED)
    finally:
        intruder.end()
    assert intruder.came  # the control: the attack reached the incoming database
    assert done.code == 10
    log.check()
    assert world.value("select b from mallory.rpg_lingers") == "true"
    assert world.databases() == {"postgres"}


SWAP: Final = (
    (
        "begin; drop sequence mallory.rpg_no; create view mallory.rpg_no as select 1::int8 as"
        " last_value, 1::int8 as log_cnt, mallory.spy('sequence') = 1 as is_called; commit"
    ),
    "begin; drop view mallory.rpg_no; create sequence mallory.rpg_no; commit",
)


def test_a_sequence_that_becomes_a_view_is_not_read(world: World) -> None:
    """Somebody who exchanges them without a pause stops the move at most."""
    world.sql(SPY)
    as_mallory(world, "create sequence rpg_no; create table rpg_rest (a int)")
    log = Log(world)
    stop = threading.Event()
    swaps = 0

    def exchange() -> None:
        nonlocal swaps
        while not stop.is_set():
            for statements in SWAP:
                try:
                    as_mallory(world, statements)
                    swaps += 1
                except psycopg.Error:
                    continue

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        codes = [world.transfer("--allow", "writers").code for _ in range(4)]
    finally:
        stop.set()
        thread.join()
    assert set(codes) <= {0, 4, 5, 10}
    assert swaps > 10
    assert [line for line in log.lines() if line[2] != "f"] == []
    assert world.value("select rolsuper from pg_roles where rolname = 'mallory'") is False


NAMES: Final = (
    'x"; alter role mallory superuser; --',
    "new\nline; alter role mallory superuser; --\n\\! touch /tmp/x\nalter role mallory superuser;",
    "it's $$ $x$ \\' E'\\''; alter role mallory superuser; --",
    "a\r\n\\connect postgres\nalter role mallory superuser\\g",
)


def test_names_are_never_statements(world: World) -> None:
    """Newlines, quotes and commands in names of everything, and in comments, are names."""
    world.sql(SPY)
    with world.server.connect() as connection:
        for number, name in enumerate(NAMES):
            one, role = sql.Identifier(name), sql.Identifier(f"{number}{name}")
            table = sql.Identifier("mallory", f"rpg_{number}{name}"[:60])
            function = sql.Identifier("mallory", f"{name}{number}"[:60])
            for text in (
                "create role {role}; grant usage, create on schema mallory to {role}",
                "create schema {one} authorization {role}; comment on schema {one} is {literal}",
                "create table {table} ({one} int default 1 check ({one} > 0))",
                "alter table {table} owner to {role}; grant select ({one}) on {table} to mallory",
                "grant all on {table} to {role}; comment on table {table} is {literal}",
                "create function {function}({one} int) returns int language sql as 'select 1'",
                "alter function {function}(int) owner to {role}",
                "revoke all on function {function}(int) from public",
                "comment on function {function}(int) is {literal}",
                "create policy {one} on {table} to {role} using (true)",
                "create type {one}.{one} as enum ({label}); alter type {one}.{one} owner to {role}",
                "create operator {one}.=== (leftarg = int, rightarg = int, function = int4eq)",
                (
                    "alter default privileges for role {role} in schema {one} grant usage on"
                    " types to {role}"
                ),
            ):
                statement = sql.SQL(text).format(
                    one=one,
                    role=role,
                    table=table,
                    function=function,
                    literal=sql.Literal(name),
                    label=sql.Literal(name[:50]),
                )
                connection.execute(statement)
    log = Log(world)
    before = world.entries("postgres")
    plan = world.transfer("--dry-run", "--json").json
    world.moved(*allowing(*(each["name"] for each in plan["obstacles"])))
    log.check()
    after = world.entries(RPG_DB)
    assert before - after == {}
    assert after - before == {}


LEFT: Final = """
select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls or rolinherit,
  rolvaliduntil between now() and now() + interval '2 hours', rolpassword ~ '^SCRAM-SHA-256',
  exists (select from pg_auth_members where member = a.oid or roleid = a.oid)
from pg_authid a where starts_with(rolname, 'entrypoint_transfer_')
"""


def test_what_a_killed_transfer_leaves_may_nothing(world: World) -> None:
    """Its roles may nothing and have an end, no log has their passwords, the next run tidies."""
    world.sql(SPY)
    world.server.reload({"log_statement": "ddl"})
    as_mallory(world, "create table rpg_left as select generate_series(1, 1000) a")
    program = world.start()
    program.until("transfer.phase_started", phase="restore")
    program.signal(signal.SIGKILL)
    program.wait()
    assert world.sql(LEFT) == [(False, True, True, False)] * 2
    world.moved()
    assert world.left() == []
    said = re.findall(r"role \"entrypoint_transfer_\w+\" login [^;]*", world.server.log.read_text())
    assert len(said) == 8  # of two rehearsals, and of two moves
    assert [each for each in said if "password 'SCRAM-SHA-256$" not in each] == []


def test_a_forged_quarantine_is_not_put_back(world: World) -> None:
    """An undo puts nobody's function where he could not, nor the target aside: not of a comment."""
    world.sql("create table rpg_items (id int); insert into rpg_items values (1)")
    world.moved()
    note = {"service": RPG, "database": RPG_DB, "origin": "public", "replaced": "0"}
    note["at"] = "2099-01-01T00:00:00.000000Z"
    world.sql("create role mallory; grant create on database postgres to mallory")
    world.sql(
        "set role mallory; create schema theirs;"
        f"comment on schema theirs is $$entrypoint moved: {json.dumps(note)}$$;"
        "create function theirs.lower(varchar) returns text language sql as 'select current_user'"
    )
    assert world.transfer("--undo", "--dry-run").code == 10
    refused = world.transfer("--undo")
    assert refused.code == 10
    assert "'theirs' claims to be a quarantine" in refused.failed()["error"]
    assert RPG_DB in world.databases()
    assert (
        world.value(
            "select pronamespace::regnamespace::text from pg_proc"
            " where proowner = 'mallory'::regrole"
        )
        == "theirs"
    )
    _, _, drop = refused.failed()["remedy"].partition("run DROP")
    world.sql(f"drop{drop.rstrip('.')}")
    assert world.transfer("--undo").code == 0
    assert world.value("select count(*) from rpg_items") == 1


def test_a_superuser_undoes_the_move_of_a_role_after_looking(world: World) -> None:
    """Where that role may create nothing there any more, the remedy's statement vouches for it."""
    url = create_role(world.server, "rpg_owner", "createdb")
    world.sql("grant connect, create on database postgres to rpg_owner")
    world.sql("create table rpg_items (id int); alter table rpg_items owner to rpg_owner")
    assert world.transfer(environ={"DATABASE_URL": url}).code == 0
    world.sql("revoke create on schema public from public")
    refused = world.transfer("--undo").failed()
    _, _, rest = refused["remedy"].partition("run ALTER")
    world.sql(f"alter{rest.partition(' as a superuser')[0]}")
    done = world.transfer("--undo")
    assert done.code == 0, done.err
    assert (
        world.value("select tableowner from pg_tables where tablename = 'rpg_items'") == "rpg_owner"
    )
