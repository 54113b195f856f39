"""Creating the database: by whom, for whom, and what is missing when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from tests.support.stage import Stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RoleFactory
    from tests.support.server import Server


def facts(stage: Stage) -> tuple[Any, ...]:
    """Owner, encoding, and whether PUBLIC may connect."""
    with stage.server.connect() as connection:
        row = connection.execute(
            "select pg_get_userbyid(datdba), pg_encoding_to_char(encoding),"
            " has_database_privilege('public', oid, 'connect')"
            " from pg_database where datname = %s",
            [stage.database],
        ).fetchone()
    assert row is not None
    return row


def test_owner_encoding_and_isolation(stage: Stage) -> None:
    """The service's role owns it, it is UTF8, and other roles may not connect."""
    assert stage.start().wait() == 0

    assert facts(stage) == (stage.user, "UTF8", False)


def test_isolation_can_be_left_out(stage: Stage) -> None:
    """`database.isolate = false` leaves CONNECT to PUBLIC."""
    stage.sections["database"] = {"isolate": False}

    assert stage.start().wait() == 0
    assert facts(stage)[2] is True


def test_a_database_that_was_there_is_not_changed(stage: Stage) -> None:
    """Only what we create is isolated."""
    with stage.server.connect() as connection:
        statement = sql.SQL("create database {} owner {}")
        names = sql.Identifier(stage.database), sql.Identifier(stage.user)
        connection.execute(statement.format(*names))

    assert stage.start().wait() == 0
    assert facts(stage)[2] is True


def test_names_are_quoted(stage: Stage) -> None:
    """Upper case, blanks, quotes and semicolons stay a name."""
    stage.database = f'{stage.database} Ünï"; drop'
    try:
        assert stage.start().wait() == 0
        assert facts(stage)[0] == stage.user
    finally:
        with stage.server.connect() as connection:
            statement = sql.SQL("drop database if exists {} with (force)")
            connection.execute(statement.format(sql.Identifier(stage.database)))


def test_a_role_that_may_not_create(stage: Stage) -> None:
    """Exit 5, and both ways out are named."""
    with stage.server.connect() as connection:
        connection.execute(f"alter role {stage.user} nocreatedb")
    program = stage.start()

    assert program.wait() == 5
    failure = program.one("database.failed")
    assert failure["sqlstate"] == "42501"
    assert f'ALTER ROLE "{stage.user}" CREATEDB' in failure["remedy"]
    assert "ENTRYPOINT_ADMIN_URL" in failure["remedy"]


def test_an_admin_creates_for_the_service(stage: Stage) -> None:
    """The database is the service's role's all the same."""
    with stage.server.connect() as connection:
        connection.execute(f"alter role {stage.user} nocreatedb")
    stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url()

    assert stage.start().wait() == 0
    assert facts(stage) == (stage.user, "UTF8", False)


def test_an_admin_who_is_no_member_of_the_role(stage: Stage, role: RoleFactory) -> None:
    """CREATEDB alone does not let it give the database away: the GRANT is named."""
    admin = role("createdb")
    stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url("postgres", admin.name, admin.password)
    program = stage.start()

    assert program.wait() == 5
    assert f'GRANT "{stage.user}" TO "{admin.name}"' in program.one("database.failed")["remedy"]


def test_a_wrong_admin_password(stage: Stage) -> None:
    """The remedy names the variable that is wrong, not another."""
    stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url(password="not-it")
    program = stage.start()

    assert program.wait() == 5
    assert "ENTRYPOINT_ADMIN_URL" in program.one("database.failed")["remedy"]


@pytest.fixture
def without_postgres(own_server: Server, tmp_path: Path) -> Stage:
    """A server that has no database `postgres`, as managed ones."""
    with own_server.connect() as connection:
        connection.execute("create role own login createdb password 'own-password'")
        connection.execute("create database defaultdb")
    with own_server.connect("defaultdb") as connection:
        connection.execute("drop database postgres")
    return Stage(tmp_path, own_server, "own_db", "own", "own-password")


def test_defaultdb_serves_where_postgres_is_missing(without_postgres: Stage) -> None:
    """The second maintenance database is tried by itself."""
    program = without_postgres.start()

    assert program.wait() == 0
    assert program.one("database.finished")["created"] is True


def test_another_maintenance_database(without_postgres: Stage) -> None:
    """ENTRYPOINT_MAINTENANCE_DATABASE is the only one tried, and named when it is missing."""
    without_postgres.environ["ENTRYPOINT_MAINTENANCE_DATABASE"] = "nowhere"
    program = without_postgres.start()
    assert program.wait() == 5
    assert "ENTRYPOINT_MAINTENANCE_DATABASE" in program.one("database.failed")["remedy"]

    without_postgres.environ["ENTRYPOINT_MAINTENANCE_DATABASE"] = "defaultdb"
    assert without_postgres.start().wait() == 0


def test_an_extension_that_is_not_installed(stage: Stage) -> None:
    """Exit 5, the extension is named, nothing was pushed."""
    stage.sections["database"] = {"extensions": ["no_such_extension"]}
    program = stage.start()

    assert program.wait() == 5
    assert "'no_such_extension'" in program.one("extensions.failed")["remedy"]
    assert "push.started" not in program.names()


def test_a_session_on_template1_does_not_matter(own_server: Server, tmp_path: Path) -> None:
    """template0 is copied, so that nobody's session on template1 is in the way."""
    with own_server.connect() as connection:
        connection.execute("create role own login createdb password 'own-password'")
    stage = Stage(tmp_path, own_server, "own_db", "own", "own-password")
    with own_server.connect("template1"):
        program = stage.start()

        assert program.wait() == 0
    assert program.one("database.finished")["elapsed_s"] < 4
