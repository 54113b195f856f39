"""X1: who may connect while a guarded push runs makes the guard evaluate what he defined."""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.errors import InvalidTextRepresentation, RaiseException

from entrypoint.postgres import guard, lock, snapshot
from entrypoint.postgres.session import Session, open_session
from tests.attacks.conftest import conninfo
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.attacks.conftest import World
    from tests.support.server import Endpoint

REFUSAL = (RaiseException, InvalidTextRepresentation)

PUSH = "entrypoint/test/host/push-c0ffee"
AS_PUSH = f"set application_name = '{PUSH}';"

TYPES = ("bool", "text", "timestamptz", "int4", "oid", "name", "regclass", "_int4", "_text", "_oid")

# Whoever does not name pg_temp searches it first.
SHADOWS = """
create function pg_temp.f(anyelement) returns bool language plpgsql as
  'begin return evil.run(); end';
"""
RELATIONS = """
create temp table pg_roles (oid pg_catalog.oid, rolname pg_catalog.name);
create temp table pg_class (oid pg_catalog.oid, relowner pg_catalog.oid, relkind "char");
create temp table pg_locks (pid int);
"""
FIRE = (
    "create temp table fuse (id int, more int); alter table fuse drop column more; drop table fuse"
)


def session(endpoint: Endpoint, database: str) -> Session:
    """A superuser's, as the program has it."""
    return open_session(conninfo(endpoint, database), 5.0, application_name="test/guard")


@contextmanager
def pushing(world: World) -> Iterator[guard.Guard]:
    """A guarded push of a superuser's, under the lock."""
    with closing(session(world.server, world.name)) as held:
        held.connection.execute("begin")
        held.connection.execute(f"select pg_advisory_xact_lock({lock.KEY})")
        tables = snapshot.take(held).filled
        armed = guard.arm(session(world.server, world.name), tables, (), PUSH, 600.0)
        try:
            yield armed
        finally:
            armed.disarm()


def shadow(world: World, more: str = RELATIONS) -> None:
    """Define everything by which a careless function could be caught, then fire the guard."""
    with world.connect(world.mallory) as mallory:
        mallory.execute(AS_PUSH + SHADOWS + more)
        for name in TYPES:
            mallory.execute(
                f"create domain pg_temp.{name} as pg_catalog.{name} check (pg_temp.f(value))"
            )
        with suppress(psycopg.Error):
            mallory.execute(FIRE)


@pytest.fixture
def filled(world: World) -> World:
    """One table with rows, which a guard guards."""
    world.sql("create table kept (id int, more int); insert into kept values (1, 1)")
    world.load()
    return world


def test_shadows_in_pg_temp(filled: World) -> None:
    """A role that may connect and make temporary objects fires the guard, which evaluates none."""
    with pushing(filled) as armed:
        assert armed.drops is None
        shadow(filled)
        assert not armed.refused()
    assert not filled.won()


def test_shadows_without_the_defence(filled: World) -> None:
    """The same attack wins where the function is a superuser's and pg_temp comes first."""
    with pushing(filled):
        [(name,)] = filled.sql(
            "select oid::regprocedure from pg_proc where proname = 'entrypoint_guard'"
        )
        filled.sql(
            f"alter function {name} security definer;"
            f"alter function {name} set search_path = pg_catalog"
        )
        shadow(filled, "")
    assert filled.won()


def test_no_function_has_the_rights_of_its_owner(filled: World) -> None:
    """Nothing that a guard makes is SECURITY DEFINER, and each names pg_temp last."""
    with pushing(filled):
        rows = filled.sql(
            "select prosecdef, proconfig from pg_proc where proname like 'entrypoint%'"
        )
    assert rows == [(False, ["search_path=pg_catalog, pg_temp"])]


def own(world: World) -> None:
    """Give him a guarded table with a policy that calls his code, even for its owner."""
    world.sql("create table his (id int, more int); insert into his values (1, 1)")
    world.sql(f"alter table his owner to {world.mallory.name}")
    world.sql(f"grant create on schema public to {world.mallory.name}")
    with world.connect(world.mallory) as mallory:
        mallory.execute(
            "alter table his enable row level security; alter table his force row level security;"
            "create policy p on his using (evil.run());"
            "create function evil.fixed(int) returns int immutable language sql as"
            " 'select evil.run()::int';"
            "create index on his (evil.fixed(1))"
        )


def test_a_role_that_the_owner_has_set(filled: World) -> None:
    """A superuser whose sessions the database's owner gives a role is still known as one."""
    filled.sql(f"grant select, trigger on kept to {filled.mallory.name}")
    filled.be_careless()
    filled.sql(f"alter database {filled.name} owner to {filled.mallory.name}")
    filled.sql(f"alter database {filled.name} set role = {filled.mallory.name}")
    with pushing(filled) as armed:
        assert armed.drops is None
    assert not filled.won()


@pytest.mark.parametrize("statement", ["alter table his drop column more", "truncate his"])
@pytest.mark.parametrize("role", ["none", "his"])
def test_a_superuser_who_drops(filled: World, statement: str, role: str) -> None:
    """A superuser who drops a part of somebody's table meanwhile does not evaluate its policy."""
    own(filled)
    if role == "his":
        statement = f"set role {filled.mallory.name}; {statement}"
    with pushing(filled) as armed:
        with pytest.raises(REFUSAL, match="ENTRYPOINT_ALLOW_LOSS=his"):
            filled.sql(AS_PUSH + statement)
        assert armed.refused()
    assert not filled.won()


def test_event_triggers_of_others(filled: World) -> None:
    """The guard's session runs no event trigger, whose function may be anybody's."""
    filled.be_careless()
    with pushing(filled) as armed:
        assert armed.drops is None
    assert not filled.won()


def test_event_triggers_without_the_defence(filled: World) -> None:
    """The same event trigger is run by any other DDL of the superuser."""
    filled.be_careless()
    filled.sql("create table another ()")
    assert filled.won()


def told(world: World) -> int:
    """What everybody who may connect can read in the function's body: a lock's first key."""
    with world.connect(world.mallory) as mallory:
        [(key,)] = mallory.execute(
            "select (regexp_match(prosrc, 'pg_try_advisory_lock_shared\\((\\d+), '))[1]::int"
            " from pg_proc where proname = 'entrypoint_guard'"
        ).fetchall()
    return int(key)


def test_a_refusal_that_was_none(filled: World) -> None:
    """He takes the lock by which a refusal is told: the push is not blamed for it."""
    with pushing(filled) as armed, filled.connect(filled.mallory) as mallory:
        mallory.execute("select pg_advisory_lock_shared(%s, 1)", [told(filled)])
        mallory.execute("select pg_sleep(0.6)")
        assert not armed.refused()


def test_a_refusal_that_he_hides(filled: World) -> None:
    """He keeps such locks for himself: a refused statement is refused and told all the same."""
    with pushing(filled) as armed, filled.connect(filled.mallory) as mallory:
        locks = "select count(pg_advisory_lock(%s, n)) from generate_series(0, 500) n"
        mallory.execute(locks, [told(filled)])
        with pytest.raises(REFUSAL, match="ENTRYPOINT_ALLOW_LOSS=kept"):
            filled.sql(AS_PUSH + "truncate kept")
        assert armed.refused()


def test_what_a_crash_leaves_stays_asleep(old_and_new: Server) -> None:
    """After a crash of the server he takes the push's name: nobody else is refused."""
    with Server.start(prefix=old_and_new.prefix) as server:
        with server.connect() as connection:
            connection.execute("create role mallory login password 'x'")
            connection.execute("create table kept (id int); insert into kept values (1)")
        with closing(session(server, "postgres")) as held:
            held.connection.execute(f"begin; select pg_advisory_xact_lock({lock.KEY})")
            tables = snapshot.take(held).filled
            armed = guard.arm(session(server, "postgres"), tables, (), PUSH, 600.0)
            with server.connect() as connection:
                connection.execute("checkpoint")  # the tests' servers write nothing before it
            server.kill()
            armed.session.close()
        server.resume()
        with psycopg.connect(server.url("postgres", "mallory", "x"), autocommit=True) as mallory:
            mallory.execute(AS_PUSH)
            with server.connect() as connection:
                connection.execute("truncate kept")
                connection.execute("drop table kept")


def test_what_a_crash_leaves_is_there(filled: World) -> None:
    """A session of the push's name is refused the same statement."""
    with pushing(filled), pytest.raises(REFUSAL):
        filled.sql(AS_PUSH + "truncate kept")


def test_conditions_hold_built_ins_only(filled: World) -> None:
    """What a trigger calls in the session that truncates is the server's own."""
    with pushing(filled):
        [(called, function)] = filled.sql(
            "select array (select distinct m[1]::oid::int8 from regexp_matches(tgqual::text,"
            " 'funcid (\\d+)', 'g') m), tgfoid::int8 from pg_trigger"
            " where tgname = 'entrypoint_guard'"
        )
    assert len(called) > 5
    assert all(oid < 16384 for oid in [*called, function])
