"""The remedies for what the tools of other languages say are tried."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.program import toml, until
from tests.tools.known import TOOLS
from tests.tools.trial import MORE, ONE, USERS

if TYPE_CHECKING:
    from tests.tools.trial import Begin, Trial

BY_NAME = {tool.name: tool for tool in TOOLS}
LATE = ONE | {"rpg_logs": ["id"]}
BOTH = ONE | {"rpg_left": ["id"], "rpg_right": ["id"]}
LOCK = 7241865325823964
"""The number of the lock of node-pg-migrate."""


def by_hand(trial: Trial, *argv: str) -> None:
    """Run something where the push runs, as a person does."""
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": trial.stage.url, **trial.tool.environ}
    subprocess.run(
        argv,
        check=True,
        cwd=trial.stage.directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


def test_a_migration_before_the_last(begin: Begin) -> None:
    """node-pg-migrate refuses it, and pushes it with the flag that the remedy names."""
    trial = begin(BY_NAME["node-pg-migrate"])
    trial.deployed()

    ended = trial.start("one", "late")

    assert ended.cell == "1 → 7 has a migration that is older than the last one that ran"
    assert "push with --no-check-order" in ended.push["remedy"]
    assert trial.tables() == ONE
    trial.stage.push.append("--no-check-order")
    assert trial.start("one", "late").cell == "0 → 0"
    assert (trial.tables(), trial.users()) == (LATE, USERS)


def test_a_lock_of_node_pg_migrate(begin: Begin) -> None:
    """Somebody else's run ends the start; with the flag of the remedy the push waits for it."""
    trial = begin(BY_NAME["node-pg-migrate"])
    trial.deployed()
    with trial.stage.connect() as other:
        other.execute("select pg_advisory_lock(%s)", [LOCK])
        ended = trial.start("one", "more")

        assert ended.cell == "1 → 7 found its lock taken"
        assert "--advisory-lock-mode wait" in ended.push["remedy"]
        trial.stage.push += ["--advisory-lock-mode", "wait"]
        program = trial.begin("one", "more")
        waits = "select from pg_locks where locktype = 'advisory' and not granted"
        until(lambda: other.execute(waits).rowcount, "the push waits for the lock")
        other.execute("select pg_advisory_unlock(%s)", [LOCK])

    assert trial.ended(program).cell == "0 → 0"
    assert (trial.tables(), trial.users()) == (MORE, USERS)


def test_two_heads_of_alembic(begin: Begin) -> None:
    """They end the start before anything is done, and the remedy's command pushes both."""
    trial = begin(BY_NAME["Alembic"])
    trial.deployed()

    ended = trial.start("one", "heads")

    assert ended.cell == "255 → 7 has two migrations after the same one"
    assert "alembic upgrade heads" in ended.push["remedy"]
    assert trial.tables() == ONE
    trial.stage.push[-1] = "heads"
    assert trial.start("one", "heads").cell == "0 → 0"
    assert (trial.tables(), trial.users()) == (BOTH, USERS)


def test_an_older_image_with_alembic(begin: Begin) -> None:
    """It starts without a push; forced to push it ends, and the release of the remedy starts."""
    trial = begin(BY_NAME["Alembic"])
    assert trial.start("one").code == 0
    assert trial.start("one", "more").code == 0

    assert trial.begin("one").wait() == 0
    trial.stage.environ["ENTRYPOINT_FORCE"] = "push"
    ended = trial.start("one")

    assert ended.cell == "255 → 7 does not have the database's revision"
    assert "Start the release" in ended.push["remedy"]
    assert trial.start("one", "more").cell == "0 → 0"
    assert trial.tables() == MORE


def test_two_leaves_of_django(begin: Begin) -> None:
    """They end the start before anything is done, and what the remedy makes is pushed."""
    trial = begin(BY_NAME["Django"])
    trial.deployed()

    ended = trial.start("one", "leaves")

    assert ended.cell == "1 → 7 has two migrations after the same one"
    assert "manage.py makemigrations --merge" in ended.push["remedy"]
    assert trial.tables() == ONE
    by_hand(trial, sys.executable, "manage.py", "makemigrations", "--merge", "--noinput")
    assert trial.start("one", "leaves").cell == "0 → 0"
    assert (trial.tables(), trial.users()) == (BOTH, USERS)


def test_tables_of_django(begin: Begin) -> None:
    """They have no prefix of the service's: a warning, until its row of the registry has them."""
    trial = begin(BY_NAME["Django"])
    stage = trial.stage

    ended = trial.start("one", "types")

    assert ended.cell == "0 → 0"
    assert ended.program.one("verify.found")["level"] == "warning"
    row = {"database": stage.database, "prefixes": ["rpg_"], "names": ["django_content_type"]}
    (stage.directory / "services.toml").write_text(toml({"demo": row}))
    stage.environ |= {"ENTRYPOINT_FORCE": "push", "ENTRYPOINT_ADMIN_URL": stage.server.url()}
    ended = trial.start("one", "types")
    assert ended.cell == "0 → 0"
    assert [e for e in ended.program.events if e["level"] != "info"] == []


def test_a_server_without_tls(begin: Begin) -> None:
    """It is none to dbmate until its URL says so, as the remedy does."""
    trial = begin(BY_NAME["dbmate"])
    push = trial.stage.push
    trial.stage.push = ["node_modules/.bin/dbmate", "--no-dump-schema", "up"]

    ended = trial.start("one")

    assert ended.cell == "2 → 7 error"
    assert 'dbmate --url "$DATABASE_URL?sslmode=disable" up' in ended.push["remedy"]
    trial.stage.push = push
    assert trial.start("one").cell == "0 → 0"


def test_a_migration_of_prisma_that_failed(begin: Begin) -> None:
    """It ends every start, with a corrected image too, until a person did what the remedy says."""
    trial = begin(BY_NAME["Prisma"])
    assert trial.start("deploy-one").cell == "0 → 0"
    with trial.stage.connect() as connection:
        connection.execute("insert into rpg_users values (1, 'ann', 'x'), (2, 'bob', 'x')")
    assert trial.start("deploy-half").cell == "1 → 7 error"

    for release in ("deploy-half", "deploy-more"):
        ended = trial.start(release)
        assert ended.cell == "1 → 7 stopped at a failed migration"
        assert "prisma migrate resolve --rolled-back NAME" in ended.push["remedy"]
        assert trial.users() == USERS

    with trial.stage.connect() as connection:
        connection.execute("drop table if exists rpg_logs")
    cli = ("node", "node_modules/prisma/build/index.js")
    by_hand(trial, *cli, "migrate", "resolve", "--rolled-back", "2_more")
    assert trial.start("deploy-more").cell == "0 → 0"
    assert (trial.tables(), trial.users()) == (MORE, USERS)
