"""Who may connect holds the lock under which services start, for ever."""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import psycopg
import pytest

from entrypoint.errors import LockError
from entrypoint.postgres import lock
from tests.attacks.conftest import as_program
from tests.conftest import Role
from tests.support.program import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.attacks.conftest import World


@pytest.fixture
def service(world: World) -> Iterator[Role]:
    """The role that owns the database."""
    made = Role(f"{world.name}_owner", world.mallory.password)
    world.sql(f"create role {made.name} login password '{made.password}'")
    world.sql(f"alter database {world.name} owner to {made.name}")
    yield made
    world.sql(f"alter database {world.name} owner to postgres; drop role {made.name}")


HOLD = f"select pg_advisory_lock({lock.KEY})"


def test_a_superuser_ends_a_stranger_who_holds_it(world: World) -> None:
    """The session of a role that has nothing in the database is ended, and the start goes on."""
    with closing(world.connect(world.mallory)) as mallory:
        mallory.execute(HOLD)
        with lock.acquire(as_program(world), lambda: as_program(world), timeout_s=10.0) as held:
            held.check()


def test_a_stranger_who_comes_back_at_once(world: World) -> None:
    """However often his sessions are ended, the next one has the lock: the wait is bounded."""
    stop = threading.Event()

    def hold() -> None:
        while not stop.is_set():
            with suppress(psycopg.Error), closing(world.connect(world.mallory)) as mallory:
                mallory.execute(HOLD)
                mallory.execute("select pg_sleep(60)")

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for each in threads:
        each.start()
    try:
        held = f"select count(*) from pg_locks where objid = {lock.KEY & 0xFFFFFFFF}"  # noqa: S608
        until(lambda: world.sql(held) == [(4,)], "all of them hold it or wait for it")
        with pytest.raises(LockError, match="owns nothing in this database"):
            acquire(world)
    finally:
        stop.set()
        mine = f"usename = '{world.mallory.name}'"
        world.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where {mine}")  # noqa: S608
        for each in threads:
            each.join()


@pytest.mark.parametrize(
    "make",
    [
        "select lo_create(0)",
        "alter default privileges grant select on tables to public",
        "create temporary table his ()",
    ],
)
def test_what_everybody_can_make_is_nothing(world: World, make: str) -> None:
    """A stranger is one although he owns what any role with CONNECT can make."""
    with closing(world.connect(world.mallory)) as mallory:
        mallory.execute(make.encode())
        mallory.execute(HOLD)
        acquire(world)


def test_a_plain_role_says_who_holds_it(world: World, service: Role) -> None:
    """Exit 6 names the stranger's role, and its remedy, when it is done, frees the lock."""
    with closing(world.connect(world.mallory)) as mallory:
        mallory.execute(HOLD)
        with pytest.raises(LockError) as caught:
            acquire(world, service)
        error = caught.value
        assert f"its role '{world.mallory.name}' owns nothing in this database" in error.message

        end, _, revoke = error.remedy.removeprefix("As a superuser, run ").partition(", and ")
        assert world.sql(end) == [(True,)]
        world.sql(revoke.removesuffix("."))
        acquire(world, service)
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            world.connect(world.mallory)


def acquire(world: World, role: Role | None = None) -> None:
    """Take the lock as a start does, and let it go."""
    held = lock.acquire(as_program(world, role), lambda: as_program(world, role), timeout_s=1.0)
    with held:
        held.check()


@pytest.mark.parametrize("how", ["owner", "member", "owns a table", "same role"])
def test_another_start_is_left_alone(world: World, service: Role, how: str) -> None:
    """A holder that may be another replica, of whichever role, is waited for and not ended."""
    holder = world.mallory
    if how == "owner":
        holder = service
    elif how == "member":
        world.sql(f"grant {service.name} to {holder.name}")
    elif how == "owns a table":
        world.sql(f"create table his (); alter table his owner to {holder.name}")
    asking = holder if how == "same role" else None
    with closing(world.connect(holder)) as replica:
        replica.execute(HOLD)
        with pytest.raises(LockError) as caught:
            acquire(world, asking)
        assert "owns nothing in this database" not in caught.value.message
        assert replica.execute("select 1").fetchone() == (1,)


def test_the_lock_holds_without_the_defence(world: World, service: Role) -> None:
    """Nothing on the server keeps a role with CONNECT from taking it, nor ends that by itself."""
    with closing(world.connect(world.mallory)) as mallory:
        mallory.execute(HOLD)
        with closing(world.connect(service)) as start:
            query = f"select pg_try_advisory_lock({lock.KEY})"
            assert start.execute(query).fetchone() == (False,)
