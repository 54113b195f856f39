"""One server by two addresses is one, whoever looks; a copy of it is another one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.operator.conftest import create_role
from tests.operator.transfer.conftest import RPG_DB, SMALL, World, lent
from tests.support import versions
from tests.support.server import Server, give

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTIFIER = "select system_identifier from pg_control_system()"

NOTES = """
select obj_description(oid)::text from pg_namespace where starts_with(nspname, 'moved_')
"""


@pytest.fixture(scope="module", params=[14, 18])
def host(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each of two versions."""
    with versions.started(request.param) as server:
        yield server


@pytest.fixture
def world(host: Server, tmp_path: Path) -> Iterator[World]:
    """The two services' small tables on it."""
    yield from lent(host, tmp_path)
    with host.connect() as connection:
        for (name,) in connection.execute(
            "select rolname from pg_roles where rolname = 'rpg_owner'"
        ):
            connection.execute(f"drop owned by {name}; drop role {name}".encode())


def by_socket(world: World) -> str:
    """The server's other address."""
    host = world.server
    return f"postgresql://{host.superuser}@/postgres?host={host.socket_dir}&port={host.port}"


def owner(world: World) -> str:
    """The URL of a role that owns all that moves, and sees nothing of others' sessions."""
    url = create_role(world.server, "rpg_owner", "createdb")
    world.sql("grant create on database postgres to rpg_owner")
    world.sql("grant usage, create on schema public to rpg_owner")
    world.sql("alter table rpg_items owner to rpg_owner; alter table dnd_rolls owner to rpg_owner")
    return url


@pytest.mark.parametrize("words", [["--dry-run"], []], ids=["dry", "move"])
def test_the_services_own_database_is_known_by_any_address(world: World, words: list[str]) -> None:
    """Nobody is told to stop sessions that are the transfer's own; what the remedy says moves."""
    world.sql(f"create database {RPG_DB}")
    world.sql(SMALL, RPG_DB)
    url = by_socket(world)
    failure = world.transfer("--from", RPG_DB, "--to", url, *words).failed()
    assert (failure["event"], failure["exit_code"]) == ("transfer.failed", 10)
    assert failure["error"] == (
        f"'{RPG_DB}' is the service's own database: its objects are in place already"
    )
    remedy = "Use --from to name the database that the service shares with others."
    assert failure["remedy"] == remedy
    assert world.left() == []
    world.moved("--from", "postgres", "--to", url, "--allow", "target")


def test_another_role_does_not_make_it_another_server(world: World) -> None:
    """The service's own database is refused to two roles, too, and each moves what may be moved."""
    plain = {"DATABASE_URL": owner(world)}
    world.sql(f"create database {RPG_DB} owner rpg_owner")
    url = by_socket(world)
    refused = world.transfer("--from", RPG_DB, "--to", url, environ=plain)
    assert "is the service's own database" in refused.failed()["error"]
    done = world.transfer("--to", url, environ=plain)
    assert done.code == 0, done.err
    assert world.value("select count(*) from rpg_items", RPG_DB) == 500
    undone = world.transfer("--undo", "--to", url, environ=plain)
    assert undone.code == 0, undone.err
    assert world.databases() == {"postgres", f"{RPG_DB}__undone"}


@pytest.mark.parametrize("role", ["superuser", "owner"])
def test_to_the_same_server_is_as_without(world: World, role: str) -> None:
    """The quarantine names no server, and an undo gives a database that was replaced back."""
    environ, url = {}, by_socket(world)
    if role == "owner":
        environ = {"DATABASE_URL": owner(world)}
        url = environ["DATABASE_URL"].replace("127.0.0.1", "localhost")
    world.sql(f"create database {RPG_DB} owner {'rpg_owner' if role == 'owner' else 'postgres'}")
    world.sql("create table rpg_items (id int); insert into rpg_items values (7)", RPG_DB)
    if role == "owner":
        world.sql("alter table rpg_items owner to rpg_owner", RPG_DB)
    for undo in (["--to", url], []):
        moved = world.transfer("--to", url, "--allow", "target", environ=environ)
        assert moved.code == 0, moved.err
        assert '"where": ""' in world.value(NOTES) or '"where"' not in world.value(NOTES)
        undone = world.transfer("--undo", *undo, environ=environ)
        assert undone.code == 0, undone.err
        assert world.value("select id from rpg_items", RPG_DB) == 7
    assert world.left() == []


def test_a_copy_of_the_server_is_another_one(world: World) -> None:
    """What has the same system identifier gets the service, and the source keeps its database."""
    world.sql(f"create database {RPG_DB}")
    world.sql(SMALL, RPG_DB)
    folder = Path(tempfile.mkdtemp(prefix="copy-", dir=world.server.socket_dir))
    world.server.stop()
    shutil.copytree(world.server.data, folder / "data")
    world.server.resume()
    give(folder)
    with Server.start(folder, prefix=world.server.prefix) as copy:
        there = World.on(copy, folder)
        assert there.value(IDENTIFIER) == world.value(IDENTIFIER)
        there.sql(f"drop database {RPG_DB}")
        world.moved("--from", RPG_DB, "--to", copy.url())
        assert there.value("select count(*) from rpg_items", RPG_DB) == 500
