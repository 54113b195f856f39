"""X3: queries that somebody else configured, or counts of tables that somebody else owns."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import psycopg
import pytest

from entrypoint.config.settings import Lookup
from entrypoint.errors import RefusedError
from entrypoint.postgres import snapshot
from entrypoint.postgres.session import Session, open_session
from entrypoint.start import extensions, seed_check, tenant
from tests.attacks.conftest import PASSWORD, World, as_program, conninfo
from tests.conftest import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrypoint.config.conninfo import Conninfo

TENANT = "6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60"
VIEW = f"""
create view public.sso_tenants as select '{TENANT}'::uuid as id, 'x' as name from {{call}}
"""  # noqa: S608  a constant of our own
QUERY = "select id from sso_tenants"


@pytest.fixture
def owned(world: World) -> World:
    """A database that is Mallory's."""
    world.load()
    world.sql(f"alter database {world.name} owner to {world.mallory.name}")
    world.sql(f"grant create on schema public to {world.mallory.name}")
    return world


@pytest.fixture
def service(world: World) -> Iterator[Role]:
    """The role of another service, which may create databases and read Mallory's view."""
    made = Role(f"{world.name}_service", PASSWORD)
    world.sql(f"create role {made.name} login createdb createrole password '{PASSWORD}'")
    world.sql(f"grant connect on database {world.name} to {made.name}")
    yield made
    world.sql(f"drop owned by {made.name} cascade; drop role {made.name}")


def define(world: World, call: str) -> None:
    """His view, which calls a function for each row."""
    with world.connect(world.mallory) as mallory:
        mallory.execute(VIEW.format(call=call))
        mallory.execute("grant select on public.sso_tenants to public")


def look_up(world: World, role: Role | None = None) -> str:
    """Find the tenant as a start does."""

    def connect(where: Conninfo, timeout_s: float) -> Session:
        return open_session(where, timeout_s, application_name="test/attacks")

    lookup = Lookup(None, "id", world.name, QUERY, 1.0)
    return tenant.find(lookup, conninfo(world.server, world.name, role), connect, lambda: None)


def test_a_superuser_asks_no_view(owned: World) -> None:
    """The lookup is refused for a superuser before the view is evaluated, with a way to go on."""
    define(owned, "evil.run()")
    with pytest.raises(RefusedError) as caught:
        look_up(owned)
    assert "ENTRYPOINT_LOOKUP_URL" in caught.value.remedy
    assert not owned.won()


def test_a_superuser_who_asks_it(owned: World) -> None:
    """Asked by hand the same query makes him a superuser."""
    define(owned, "evil.run()")
    owned.sql(QUERY)
    assert owned.won()


@pytest.mark.parametrize("right", ["pg_execute_server_program", "pg_signal_backend"])
def test_a_role_that_may_run_programs_asks_none(owned: World, service: Role, right: str) -> None:
    """COPY TO PROGRAM is a read, which no read-only transaction forbids."""
    define(owned, "evil.run()")
    owned.sql(f"grant {right} to {service.name}")
    with pytest.raises(RefusedError, match="files and programs"):
        look_up(owned, service)


DOES = {
    "password": "alter role {name} password ''changed''",
    "leaves": "create table public.left_behind ()",
    "writes": "set transaction_read_only = off; create table public.left_behind ()",
}


def harm(world: World, service: Role, what: str) -> None:
    """A function that does it as whoever evaluates the view."""
    statement = DOES[what].format(name=service.name)
    with world.connect(world.mallory) as mallory:
        mallory.execute(
            "create function evil.harm() returns int language plpgsql as $f$ declare s text; begin"
            f" foreach s in array string_to_array('{statement}', ';') loop"
            " begin execute s; exception when others then"
            " raise log 'harm: %', sqlerrm; end; end loop; return 1; end $f$"
        )
    define(world, "evil.harm()")


def harmed(world: World, service: Role) -> bool:
    """Whether anything of it was done."""
    with suppress(psycopg.OperationalError):
        with closing(world.connect(service)):
            pass
        return bool(world.sql("select 1 from pg_class where relname = 'left_behind'"))
    return True


@pytest.mark.parametrize("what", ["password", "leaves", "writes"])
def test_what_the_view_does_to_who_asks(owned: World, service: Role, what: str) -> None:
    """The tenant is found, and nothing is done in the role's name: it can write nothing."""
    harm(owned, service, what)
    assert look_up(owned, service) == TENANT
    assert not harmed(owned, service)


@pytest.mark.parametrize("what", ["password", "leaves", "writes"])
def test_what_it_does_without_the_defence(owned: World, service: Role, what: str) -> None:
    """The same query of the same role in an ordinary transaction does all of it."""
    owned.sql(f"grant create on schema public to {service.name}")
    harm(owned, service, what)
    with closing(owned.connect(service)) as connection:
        connection.execute("begin; " + QUERY)
        connection.execute("commit")
    assert harmed(owned, service)


def ask(world: World, role: Role | None = None) -> bool:
    """seed.check, as a start asks it."""
    with closing(as_program(world, role)) as session:
        query = "select from sso_tenants where id = %(tenant_id)s"
        return seed_check.is_there(session, query, TENANT) is True


def test_a_superuser_s_seed_check(owned: World) -> None:
    """It is not asked where another role's view might answer, and so proves nothing."""
    define(owned, "evil.run()")
    assert not ask(owned)
    assert not owned.won()


def test_a_superuser_s_seed_check_of_his_own(world: World) -> None:
    """In a database in which nobody else has anything it is asked."""
    world.sql("revoke create on schema public from public")
    world.sql(VIEW.format(call="pg_catalog.now()"))
    assert ask(world)


@pytest.mark.parametrize("grant", ["schema public", "database {name}"])
def test_a_superuser_s_seed_check_where_others_may_create(world: World, grant: str) -> None:
    """That another role may put something there at any moment is enough not to ask."""
    world.sql("revoke create on schema public from public")
    world.sql(VIEW.format(call="pg_catalog.now()"))
    world.sql(f"grant create on {grant.format(name=world.name)} to {world.mallory.name}")
    assert not ask(world)


def test_a_seed_check_writes_nothing(world: World, service: Role) -> None:
    """A check that tries fails, and is no proof."""
    world.sql("create table public.sso_tenants (id uuid)")
    world.sql(f"insert into sso_tenants values ('{TENANT}')")  # noqa: S608  a constant
    world.sql(f"alter table sso_tenants owner to {service.name}")
    assert ask(world, service)
    with closing(as_program(world, service)) as session:
        delete = "delete from sso_tenants returning id"
        assert not seed_check.is_there(session, delete, TENANT)
    assert ask(world, service)


class Swapper:
    """Puts a view in the place of his table, and the table back, all the time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stop = threading.Event()
        self.swaps = 0
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        with closing(self.world.connect(self.world.mallory)) as mallory:
            while not self.stop.is_set():
                with suppress(psycopg.Error):
                    mallory.execute(
                        "begin; alter table his rename to his_table;"
                        "create view his as select from his_table where evil.run(); commit"
                    )
                    self.swaps += 1
                    mallory.execute(
                        "begin; drop view his; alter table his_table rename to his; commit"
                    )
                self.stop.wait(random.random() / 50)

    def end(self) -> None:
        """Leave it alone."""
        self.stop.set()
        self.thread.join()


def test_a_view_in_a_table_s_place(owned: World) -> None:
    """Rows are counted by a superuser while the owner swaps: the view is never evaluated."""
    with owned.connect(owned.mallory) as mallory:
        mallory.execute("create table his (id int); insert into his values (1)")
    swapper = Swapper(owned)
    counts = []
    try:
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline or swapper.swaps < 50:
            with closing(as_program(owned)) as session:
                session.connection.execute("begin")
                taken = snapshot.take(session)
                counts += [table.rows for table in taken.tables.values()]
    finally:
        swapper.end()
    assert not owned.won()
    assert set(counts) <= {None, 1}


def test_a_view_in_a_table_s_place_without_the_defence(owned: World) -> None:
    """Counted by its name, as it was, the view is evaluated."""
    with owned.connect(owned.mallory) as mallory:
        mallory.execute("create table his_table (id int); insert into his_table values (1)")
        mallory.execute("create view his as select from his_table where evil.run()")
    owned.sql("select count(*) from (select from only public.his limit 10000) as taken")
    assert owned.won()


def test_an_extension_in_a_schema_with_traps(owned: World) -> None:
    """A superuser creates it in an empty schema and moves it: no function of his is called."""
    owned.be_careless()
    with closing(as_program(owned)) as session:
        assert extensions.create(session, ["citext"], "public", last=True) == []
    found = owned.sql(
        "select nspname from pg_extension e join pg_namespace n on n.oid = extnamespace"
        " where extname = 'citext'"
    )
    assert found == [("public",)]
    assert not owned.won()


def test_a_schema_in_the_extension_s_way(owned: World) -> None:
    """Nobody knows the name of the schema in which an extension is created."""
    with owned.connect(owned.mallory) as mallory:
        mallory.execute("create schema entrypoint_extension")
    with closing(as_program(owned)) as session:
        assert extensions.create(session, ["citext"], "public", last=True) == []


def test_a_superuser_is_himself(owned: World) -> None:
    """A role that the database's owner has set for all sessions in it is not a superuser's."""
    owned.sql(f"alter database {owned.name} set role = {owned.mallory.name}")
    with closing(as_program(owned)) as session:
        row = session.connection.execute("select current_user = session_user").fetchone()
        assert row == (True,)
    with owned.connect() as control:
        assert control.execute("select current_user").fetchone() == (owned.mallory.name,)
