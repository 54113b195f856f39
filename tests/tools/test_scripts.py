"""Scripts around a tool that hide its exit code, or try again: its words tell all the same."""

from __future__ import annotations

import shlex
import uuid
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.tools.known import ORMS, TOOLS
from tests.tools.trial import MORE, ONE, USERS, for_any_driver

if TYPE_CHECKING:
    from tests.tools.tool import Tool
    from tests.tools.trial import Begin

EVERY = pytest.mark.parametrize("tool", ORMS.values(), ids=str)

BY_NAME = {tool.name: tool for tool in TOOLS}
NICK = ["id", "name", "email", "nick"]

NOBODY = "DATABASE_URL=postgresql://nobody@127.0.0.1:1/nowhere"


@EVERY
def test_a_hidden_exit_code(begin: Begin, tool: Tool) -> None:
    """A script that goes on after its tool failed half way is not believed, whatever it says."""
    trial = begin(tool)
    trial.deployed()
    trial.stage.push = ["sh", "-c", f"{shlex.join(tool.push)} || echo 'schema is up to date'"]

    ended = trial.start("one", "half")

    assert ended.cell == "0 → 7 error"
    assert "exited with code 0, but" in ended.push["error"]
    assert trial.users() == USERS
    assert trial.tables() == ONE or tool.mend


@EVERY
def test_a_second_try(begin: Begin, tool: Tool) -> None:
    """A script that found no server at first, and then did all, is believed."""
    trial = begin(tool)
    trial.deployed()
    push = shlex.join(tool.push)
    trial.stage.push = ["sh", "-c", f"{NOBODY} {push} || exec {push}"]

    ended = trial.start("one", "more")

    assert len(ended.said) > 1
    assert ended.cell == "0 → 0"
    assert (trial.tables(), trial.users()) == (MORE, USERS)


def test_a_migration_that_prints(begin: Begin) -> None:
    """What a migration of Django says stands in Django's line, which ends later."""
    trial = begin(BY_NAME["Django"])
    trial.deployed()

    ended = trial.start("one", "prints")

    assert {"  Applying rpg.0002_prints...filling", " OK"} <= {*ended.said}
    assert ended.cell == "0 → 0"
    assert trial.users() == USERS


def test_a_superuser_who_is_there(begin: Begin) -> None:
    """The error of Django's other command in its second run, which a script expects, is none."""
    trial = begin(BY_NAME["Django"])
    trial.deployed()
    assert trial.start("one", "admin").cell == "0 → 0"
    trial.stage.environ["ENTRYPOINT_FORCE"] = "push"

    ended = trial.start("one", "admin")

    assert "CommandError: Error: That username is already taken." in ended.said
    assert ended.cell == "0 → 0"


def test_a_migration_that_raises_behind_one_that_is_done(begin: Begin) -> None:
    """A script that hides how Django ended is not believed for the migrations before that."""
    trial = begin(BY_NAME["Django"])
    trial.deployed()
    trial.stage.push = ["sh", "-c", "sh push.sh || true"]

    ended = trial.start("one", "raises")

    assert ended.cell == "0 → 7 silent"
    assert trial.tables() == {"rpg_users": NICK}


def test_a_migration_behind_one_that_is_not_there(begin: Begin) -> None:
    """Django refuses all of them before it begins, and a script that hides that is not believed."""
    trial = begin(BY_NAME["Django"])
    trial.deployed()
    trial.stage.push = ["sh", "-c", "sh push.sh || true"]

    ended = trial.start("one", "orphan")

    assert ended.cell == "0 → 7 error"
    assert "NodeNotFoundError: Migration rpg.0003_orphan" in ended.push["error"]
    assert trial.tables() == ONE


def test_a_migration_that_is_only_recorded(begin: Begin) -> None:
    """TypeORM with --fake says nothing but the statement that records it."""
    trial = begin(BY_NAME["TypeORM"])
    trial.deployed()
    trial.stage.push.append("--fake")

    ended = trial.start("one", "more")

    assert not any("executed successfully" in line for line in ended.said)
    assert ended.cell == "0 → 0"
    assert trial.tables() == ONE


def test_a_server_without_a_connection_left(begin: Begin) -> None:
    """A script that tries dbmate again when it was refused, and then did all, is believed."""
    trial = begin(BY_NAME["dbmate"])
    trial.deployed()
    trial.stage.push = ["sh", "-c", "DATABASE_URL=$FULL sh push.sh; exec sh push.sh"]
    name = f"full_{uuid.uuid4().hex[:12]}"
    role = sql.Identifier(name)
    server = trial.stage.server
    with server.connect() as connection:
        for_any_driver(connection)
        connection.execute(
            sql.SQL("create role {} login password 'x' connection limit 0").format(role)
        )
        connection.execute(
            sql.SQL("grant connect on database {} to {}").format(
                sql.Identifier(trial.stage.database), role
            )
        )
    trial.stage.environ["FULL"] = server.url(trial.stage.database, name, "x")
    try:
        ended = trial.start("one", "more")
    finally:
        with server.connect(trial.stage.database) as connection:
            connection.execute(sql.SQL("drop owned by {0}; drop role {0}").format(role))

    assert any(line.endswith("(53300)") for line in ended.said), ended.said
    assert ended.cell == "0 → 0"
    assert trial.tables() == MORE


def test_a_database_that_dbmate_finds(begin: Begin) -> None:
    """`dbmate create` fails the second time, which a script expects."""
    trial = begin(BY_NAME["dbmate"])
    trial.deployed()
    create = 'node_modules/.bin/dbmate --url "$DATABASE_URL?sslmode=disable" create'
    trial.stage.push = ["sh", "-c", f"{create}; exec sh push.sh"]

    ended = trial.start("one", "more")

    assert any("already exists" in line for line in ended.said), ended.said
    assert ended.cell == "0 → 0"
    assert trial.tables() == MORE
