"""The roles that SECURITY.md recommends are enough, and can do nothing to another service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.docs import block
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.attacks.conftest import World

NAMES = ("rpg_admin", "rpg")
PASSWORD = "p@ss/word#1%"


@pytest.fixture
def service(world: World, tmp_path: Path) -> Iterator[Stage]:
    """A service whose roles were made by the page's own statements."""
    statements = block("SECURITY", "Which role each URL needs", "sql").replace("…", PASSWORD)
    statements = re.sub(r"\brpg(_admin)?\b", rf"{world.name}_r\1", statements)
    with world.server.connect() as connection:
        connection.execute(statements.encode())
    made = Stage(tmp_path, world.server, f"{world.name}_own", f"{world.name}_r", PASSWORD)
    made.environ["ENTRYPOINT_ADMIN_URL"] = admin(made)
    yield made
    with world.server.connect() as connection:
        connection.execute(f"drop database if exists {made.database} with (force)")
        connection.execute(f"drop role {made.user}, {made.user}_admin")


def admin(stage: Stage, database: str = "postgres") -> str:
    """The URL of the admin's role."""
    return stage.server.url(database, f"{stage.user}_admin", PASSWORD)


def test_they_are_enough(service: Stage) -> None:
    """The database is created, owned by the service's role and closed; the next start goes on."""
    for _ in range(2):
        start = service.start()
        assert start.wait() == 0, start.output
    with service.connect() as connection:
        assert connection.execute(
            "select pg_get_userbyid(datdba), has_database_privilege('public', oid, 'connect')"
            " from pg_database where datname = current_database()"
        ).fetchone() == (service.user, False)


def test_they_can_do_nothing_to_another_service(service: Stage, world: World) -> None:
    """Neither role gets into a database of somebody else's, drops it, or makes one for him."""
    with world.server.connect() as connection:
        connection.execute(f"revoke connect on database {world.name} from public")
    for url in (admin(service, world.name), service.server.url(world.name, service.user, PASSWORD)):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url)
    with psycopg.connect(admin(service), autocommit=True) as connection:
        for statement in (
            f"drop database {world.name}",
            f"create database {world.name}_more owner {world.mallory.name}",
            f"alter role {world.mallory.name} password 'x'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_the_admin_alone_is_not_enough(service: Stage) -> None:
    """Without the membership it cannot create the database, and the remedy's GRANT mends that."""
    with service.server.connect() as connection:
        connection.execute(f"revoke {service.user} from {service.user}_admin")
    start = service.start()
    assert start.wait() == 5
    grant = re.search(r"GRANT \S+ TO [^\s,;]+", start.one("database.failed")["remedy"])
    assert grant
    with service.server.connect() as connection:
        connection.execute(grant[0].encode())
    assert service.start().wait() == 0
