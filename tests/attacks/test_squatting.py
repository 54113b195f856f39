"""X4: another service's role makes the missing database first, and waits for what comes into it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Role
from tests.support.program import python
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.attacks.conftest import World
    from tests.support.program import Program

SINCE_15 = 150000


@pytest.fixture
def stage(world: World, tmp_path: Path) -> Iterator[Stage]:
    """A service whose database Mallory has made, with a trap in it, before its first start."""
    service = Role(f"{world.name}_service", world.mallory.password)
    squatted = f"{world.name}_new"
    with world.server.connect() as connection:
        connection.execute(
            f"create role {service.name} login createdb password '{service.password}'"
        )
        connection.execute(f"alter role {world.mallory.name} createdb")
        connection.execute(f"create database {squatted} owner {world.mallory.name}")
    trap = """
        create table evil.caught (who text);
        grant usage on schema evil to public; grant all on evil.caught to public;
        create function public.lower(varchar) returns text language plpgsql as
          'begin insert into evil.caught values (current_user); return $1; end'
    """
    with world.server.connect(squatted) as connection:
        connection.execute(f"grant create on schema public to {world.mallory.name}")
        connection.execute(f"set role {world.mallory.name}")
        connection.execute("create schema evil")
        connection.execute(trap)
        connection.execute("reset role; grant create on schema public to public")
    made = Stage(tmp_path, world.server, squatted, service.name, service.password)
    made.push = python("push", "sql", "select lower('Secret'::varchar)")
    (tmp_path / "schema.ts").write_text("v1")
    made.sections["push"] = {"inputs": ["schema.ts"]}
    made.sections["seed"] = {"inputs": ["schema.ts"]}
    yield made
    for program in made.started:
        program.wait()
    with world.server.connect() as connection:
        connection.execute(f"drop database if exists {squatted} with (force)")
        connection.execute(f"drop owned by {service.name} cascade; drop role {service.name}")


def caught(stage: Stage) -> list[Any]:
    """Who called what Mallory put in the server's place."""
    with stage.connect() as connection:
        return connection.execute("select who from evil.caught").fetchall()


def refused(program: Program) -> dict[str, Any]:
    """It ended with 5 in the step of the database, and ran nothing."""
    assert program.wait() == 5, program.output
    assert not {"push.started", "seed.started", "handoff.executed"} & set(program.names())
    return program.one("database.failed")


def test_the_first_start_is_refused_and_so_are_the_next(stage: Stage, world: World) -> None:
    """Exit 5 with the owner's name and both ways out, however often the platform starts it."""
    for _ in range(3):
        failure = refused(stage.start())
        assert f"belongs to '{world.mallory.name}'; neither '{stage.user}' nor" in failure["error"]
    assert caught(stage) == []


def test_it_can_be_agreed_to(stage: Stage) -> None:
    """Named by the deployment, the owner is accepted: then, as without us, the trap snaps."""
    remedy = refused(stage.start())["remedy"]
    found = re.search(r"ENTRYPOINT_DATABASE_OWNER=(\w+)", remedy)
    assert found
    stage.environ["ENTRYPOINT_DATABASE_OWNER"] = found[1]

    assert stage.start().wait() == 0
    assert caught(stage) == [(stage.user,)]
    assert stage.start().wait() == 0


def test_it_can_be_given(stage: Stage) -> None:
    """The statement of the remedy makes it the service's own."""
    remedy = refused(stage.start())["remedy"]
    statement = re.search(r"ALTER DATABASE \S+ OWNER TO [^,]+", remedy)
    assert statement
    with stage.server.connect() as connection:
        connection.execute(statement[0].encode())

    assert stage.start().wait() == 0


def test_another_owner_s_name_agrees_to_nothing(stage: Stage) -> None:
    """It must be the name of who owns it."""
    stage.environ["ENTRYPOINT_DATABASE_OWNER"] = "postgres"
    refused(stage.start())


def test_a_superuser_does_not_walk_into_it(stage: Stage) -> None:
    """A superuser is a member of every role, and yet it is not his."""
    stage.environ["DATABASE_URL"] = stage.server.url(stage.database)
    refused(stage.start())
    assert caught(stage) == []


def test_a_superuser_who_is_given_a_role(stage: Stage, world: World) -> None:
    """That the database makes every session the owner's does not make it a superuser's own."""
    with stage.server.connect() as connection:
        connection.execute(f'alter database "{stage.database}" set role = "{world.mallory.name}"')
    stage.environ["DATABASE_URL"] = stage.server.url(stage.database)
    refused(stage.start())
    assert caught(stage) == []


def test_he_makes_the_service_a_member_of_himself(stage: Stage, world: World) -> None:
    """Up to PostgreSQL 14 a role can grant itself to anybody, which makes nothing of its ours."""
    with world.connect(world.mallory) as mallory:
        version = mallory.info.server_version
        grant = f'grant "{world.mallory.name}" to "{stage.user}"'
        if version < SINCE_15:
            mallory.execute(grant)
        else:
            with pytest.raises(Exception, match=r"must have admin|permission denied"):
                mallory.execute(grant)
    refused(stage.start())
    assert caught(stage) == []


def test_a_member_of_the_owner_is_let_in(stage: Stage, world: World) -> None:
    """A role that somebody else has made a member of the owner is meant to use it."""
    with stage.server.connect() as connection:
        connection.execute(f'grant "{world.mallory.name}" to "{stage.user}"')
    assert stage.start().wait() == 0


def test_a_superuser_s_database_is_let_in(stage: Stage) -> None:
    """Whoever made it needs no trap."""
    with stage.server.connect() as connection:
        connection.execute(f'alter database "{stage.database}" owner to postgres')
    assert stage.start().wait() == 0


def give_away(stage: Stage, world: World) -> None:
    """Let the service prepare it, and then make all of it Mallory's: his ledger is true."""
    with stage.server.connect() as connection:
        connection.execute(f'alter database "{stage.database}" owner to "{stage.user}"')
    assert stage.start().wait() == 0
    with stage.server.connect() as connection:
        connection.execute(f'alter database "{stage.database}" owner to "{world.mallory.name}"')
    with stage.connect() as connection:
        connection.execute(f'reassign owned by "{stage.user}" to "{world.mallory.name}"')
        connection.execute("grant all on all tables in schema public to public")


def test_a_forged_ledger(stage: Stage, world: World) -> None:
    """A ledger that proves that nothing is to be done is not believed in a stranger's database."""
    give_away(stage, world)
    refused(stage.start())
    refused(stage.start())


def test_a_ledger_of_who_was_agreed_to(stage: Stage, world: World) -> None:
    """Without the defence that ledger is believed: nothing is run, and the service starts."""
    give_away(stage, world)
    stage.environ["ENTRYPOINT_DATABASE_OWNER"] = world.mallory.name
    start = stage.start()
    assert start.wait() == 0
    assert {"push.skipped", "seed.skipped", "handoff.executed"} <= set(start.names())


def test_public_rights_are_closed_on_what_we_make(stage: Stage) -> None:
    """PUBLIC may neither connect to a new database nor create in it, and nothing is said of it."""
    with stage.server.connect() as connection:
        connection.execute(f'drop database "{stage.database}"')
    stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url("postgres")
    start = stage.start()
    assert start.wait() == 0
    assert "database.exposed" not in start.names()
    with stage.connect() as connection:
        assert connection.execute(
            "select has_database_privilege('public', current_database(), 'connect'),"
            " has_schema_privilege('public', 'public', 'create')"
        ).fetchone() == (False, False)


def test_public_rights_are_said_of_what_we_find(stage: Stage) -> None:
    """What every role may do is told with the statements that forbid it, which do."""
    with stage.server.connect() as connection:
        connection.execute(f'alter database "{stage.database}" owner to "{stage.user}"')
    start = stage.start()
    assert start.wait() == 0
    event = start.one("database.exposed")
    assert event["public_may"] == ["connect", "create"]
    with stage.connect() as connection:
        connection.execute(event["remedy"].removeprefix("Run ").removesuffix(".").encode())
    (stage.directory / "schema.ts").write_text("v2")
    again = stage.start()
    assert again.wait() == 0
    assert "database.exposed" not in again.names()
