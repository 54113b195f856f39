"""Servers of several versions, a role that means harm, and code of his that tells who ran it."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest

from entrypoint.config.conninfo import Conninfo
from entrypoint.postgres.session import Session, open_session
from tests.conftest import Role
from tests.support import versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from tests.support.server import Endpoint, Server

    Connection = psycopg.Connection[TupleRow]

PASSWORD = "p@ss/word#1%"

# What he wants: to be a superuser. A sequence counts, because it is not rolled back.
PAYLOAD = """
create schema if not exists evil authorization {name};
create sequence evil.seen;
create function evil.run() returns bool language plpgsql as $evil$
begin
  if (select bool_or(rolsuper) from pg_catalog.pg_roles
      where rolname in (session_user, current_user)) then
    perform pg_catalog.nextval('evil.seen');
    begin
      execute 'alter role {name} superuser';
    exception when others then
    end;
  end if;
  return true;
end $evil$;
alter function evil.run() owner to {name};
alter sequence evil.seen owner to {name};
grant usage on schema evil to public;
grant usage on sequence evil.seen to public;
"""


@dataclass(frozen=True)
class World:
    """A database on a server of its version, and somebody who may do as little as connect."""

    server: Server
    name: str
    mallory: Role

    def url(self, role: Role | None = None) -> str:
        """The superuser's by default."""
        return self.server.url(self.name, *((role.name, role.password) if role else ()))

    def connect(self, role: Role | None = None) -> Connection:
        """A session in autocommit mode."""
        return psycopg.connect(self.url(role), autocommit=True)

    def sql(self, statements: str) -> list[TupleRow]:
        """Run them as the superuser."""
        with self.connect() as connection:
            cursor = connection.execute(statements.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def load(self) -> None:
        """Give him `evil.run()`, which makes him a superuser as soon as one evaluates it."""
        self.sql(PAYLOAD.format(name=self.mallory.name))

    def be_careless(self) -> None:
        """Let a superuser make an event trigger that calls a function which is Mallory's."""
        with self.connect(self.mallory) as mallory:
            mallory.execute(
                "create function evil.ddl() returns event_trigger language plpgsql as"
                " 'begin perform evil.run(); end'"
            )
        self.sql("create event trigger careless on ddl_command_end execute function evil.ddl()")

    def won(self) -> bool:
        """Whether he is a superuser, or his code was run by one."""
        [(superuser,)] = self.sql(
            f"select rolsuper from pg_roles where rolname = '{self.mallory.name}'"  # noqa: S608
        )
        ran = False
        if self.sql("select 1 from pg_class where oid = to_regclass('evil.seen')"):
            [(ran,)] = self.sql("select is_called from evil.seen")
        return bool(superuser or ran)


def conninfo(server: Endpoint, database: str, role: Role | None = None) -> Conninfo:
    """Where a database is, and for whom; the superuser by default."""
    params = {
        "host": server.host,
        "port": str(server.port),
        "user": role.name if role else server.superuser,
        "password": role.password if role else server.password,
        "dbname": database,
    }
    return Conninfo(params, "DATABASE_URL")


def as_program(world: World, role: Role | None = None) -> Session:
    """A session as the program has it; the superuser's by default."""
    where = conninfo(world.server, world.name, role)
    return open_session(where, 5.0, application_name="test/attacks")


@pytest.fixture(scope="session", params=versions.ENDS)
def old_and_new(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the version that lets an attacker do most, and of the newest."""
    with versions.started(request.param) as server:
        yield server


@pytest.fixture
def world(old_and_new: Server) -> Iterator[World]:
    """A database of its own; nothing of it stays."""
    server = old_and_new
    suffix = uuid.uuid4().hex[:10]
    made = World(server, f"svc_{suffix}", Role(f"mallory_{suffix}", PASSWORD))
    with server.connect() as connection:
        connection.execute(f"create role {made.mallory.name} login password '{PASSWORD}'")
        connection.execute(f"create database {made.name}")
    yield made
    with server.connect() as connection:
        connection.execute(f"drop database if exists {made.name} with (force)")
        rows = connection.execute(
            "select datname from pg_database where pg_get_userbyid(datdba) = %s",
            [made.mallory.name],
        ).fetchall()
        for (name,) in rows:
            connection.execute(f'drop database "{name}" with (force)')
        with suppress(psycopg.Error):
            connection.execute(f"drop owned by {made.mallory.name} cascade")
        connection.execute(f"drop role {made.mallory.name}")
