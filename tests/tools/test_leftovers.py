"""What tools leave in a database, and what a start on it says; its remedies are tried."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.tools.known import ORMS, TOOLS
from tests.tools.trial import MORE, ONE, USERS

if TYPE_CHECKING:
    from tests.tools.tool import Tool
    from tests.tools.trial import Begin

KNEX = ORMS["Knex"]
STRICT = [KNEX, ORMS["Kysely"]]
"""Those that miss the file of a migration that was run."""
OTHERS = [tool for tool in TOOLS if tool.name in ("node-pg-migrate", "Alembic")]
"""Those besides that make their tables before they have a migration."""


@pytest.mark.parametrize("tool", [*ORMS.values(), *OTHERS], ids=str)
def test_nothing_but_a_tools_own_tables(begin: Begin, tool: Tool) -> None:
    """A push without a migration leaves the tool's own tables, which are no schema."""
    trial = begin(tool)
    trial.registered = False

    ended = trial.start("none")

    assert ended.code == 7
    error = "the push command exited with code 0, but there is no table in the database"
    assert ended.push["error"] == error
    assert ended.push["tables"] >= 1
    assert trial.start("one").code == 0


def test_a_lock_of_knex(begin: Begin) -> None:
    """A killed run's lock ends every start with 7, until somebody does what the remedy says."""
    trial = begin(KNEX)
    trial.deployed()
    assert trial.killed("one", "locks", signum=signal.SIGTERM).code == 7

    for ended in (trial.start("one", "locks"), trial.start("one", "locks")):
        assert ended.cell == "1 → 7 found its own lock, which a killed run leaves behind"
        assert "`knex migrate:unlock`" in ended.push["remedy"]

    subprocess.run(
        [*KNEX.push[:-1], "migrate:unlock"],
        check=True,
        cwd=trial.stage.directory,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": trial.stage.url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )

    assert trial.start("one", "locks").cell == "0 → 0"
    assert (trial.tables(), trial.users()) == (MORE, USERS)


@pytest.mark.parametrize("tool", STRICT, ids=str)
def test_an_older_image(begin: Begin, tool: Tool) -> None:
    """It starts without a push; forced to push it says whose migrations it misses, and ends."""
    trial = begin(tool)
    assert trial.start("one").code == 0
    assert trial.start("one", "more").code == 0

    assert trial.begin("one").wait() == 0
    trial.stage.environ["ENTRYPOINT_FORCE"] = "push"
    ended = trial.start("one")

    missed = "found migrations in the database that this image does not have"
    assert ended.cell == f"1 → 7 {missed}"
    assert "Deploy the release that has them" in ended.push["remedy"]
    assert trial.tables() == MORE
    assert trial.start("one", "more").cell == "0 → 0"


def test_a_database_that_mikro_orm_makes(begin: Begin) -> None:
    """It creates what a wrong URL names, says that it is done there, and is not believed."""
    trial = begin(ORMS["MikroORM"])
    trial.deployed()
    stage, stray = trial.stage, f"{trial.stage.database}_stray"
    url = stage.server.url(stray, stage.user, stage.password)
    stage.push = ["env", f"DATABASE_URL={url}", *trial.tool.push]
    try:
        ended = trial.start("one", "more")
    finally:
        with stage.server.connect() as connection:
            made = connection.execute("select from pg_database where datname = %s", [stray])
            drop = sql.SQL("drop database if exists {} with (force)")
            connection.execute(drop.format(sql.Identifier(stray)))

    assert made.rowcount == 1
    assert (ended.push["returncode"], ended.push["output"]) == (0, "MikroORM: succeeded")
    assert "never connected to the service's database" in ended.push["error"]
    assert ".env file" in ended.push["remedy"]
    assert (ended.code, trial.tables(), trial.users()) == (7, ONE, USERS)
