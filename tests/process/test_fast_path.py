"""Starts with nothing to do, and what makes them work again."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from tests.support.program import Program, python
from tests.support.stage import TENANT, Stage

if TYPE_CHECKING:
    from tests.conftest import RoleFactory

OTHER_TENANT = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def proved(stage: Stage) -> Stage:
    """A stage with inputs, so that a second start can be proved needless."""
    (stage.directory / "schema").mkdir()
    (stage.directory / "schema" / "heroes.ts").write_text("v1")
    (stage.directory / "seed.js").write_text("v1")
    stage.sections["push"] = {"inputs": ["schema/**"]}
    stage.sections["seed"] = {"inputs": ["seed.js"]}
    return stage


def done(program: Program) -> Program:
    """It ended well."""
    assert program.wait() == 0, program.output
    return program


def reasons(program: Program) -> dict[str, Any]:
    """Why push and seed were run or skipped."""
    return {
        event["event"]: event["reason"]
        for event in program.events
        if event["event"] in ("push.started", "push.skipped", "seed.started", "seed.skipped")
    }


RAN_FIRST = {"push.started": "first", "seed.started": "first"}
NOTHING = {"push.skipped": "unchanged", "seed.skipped": "seeded"}


def test_a_second_start_does_nothing(proved: Stage) -> None:
    """No lock, no child, nothing written; one line for each step."""
    assert reasons(done(proved.start())) == RAN_FIRST

    second = done(proved.start())

    assert reasons(second) == NOTHING
    assert [name for name in second.names() if name.startswith(("lock.", "extensions."))] == []
    assert len(proved.runs("push")) == len(proved.runs("seed")) == 1


def test_a_changed_input_pushes(proved: Stage) -> None:
    """And only the step that it belongs to."""
    done(proved.start())
    (proved.directory / "schema" / "heroes.ts").write_text("v2")

    assert reasons(done(proved.start())) == {"push.started": "changed", "seed.skipped": "seeded"}
    assert reasons(done(proved.start())) == NOTHING

    (proved.directory / "seed.js").write_text("v2")
    assert reasons(done(proved.start())) == {"push.skipped": "unchanged", "seed.started": "changed"}


def test_another_command_is_another_input(proved: Stage) -> None:
    """The same files pushed in another way are pushed."""
    done(proved.start())
    proved.push = python("push", "say", "otherwise")

    assert reasons(done(proved.start()))["push.started"] == "changed"


def test_ddl_by_hand_is_drift(proved: Stage) -> None:
    """Any DDL between two starts makes the next one push; data does not."""
    done(proved.start())
    with proved.connect() as connection:
        connection.execute("insert into rpg_heroes values (gen_random_uuid(), 'by hand')")
    assert reasons(done(proved.start())) == NOTHING
    with proved.connect() as connection:
        connection.execute("alter table rpg_heroes add column by_hand int")

    assert reasons(done(proved.start())) == {"push.started": "drift", "seed.skipped": "seeded"}
    assert reasons(done(proved.start())) == NOTHING


def test_every_tenant_is_seeded_once(proved: Stage) -> None:
    """A second tenant is seeded without a push; both are in the ledger then."""
    done(proved.start())
    proved.environ["SEED_TENANT_ID"] = OTHER_TENANT
    assert reasons(done(proved.start())) == {"push.skipped": "unchanged", "seed.started": "first"}
    assert reasons(done(proved.start())) == NOTHING

    proved.environ["SEED_TENANT_ID"] = TENANT
    assert reasons(done(proved.start())) == NOTHING


def test_a_new_extension_is_not_skipped(proved: Stage) -> None:
    """It is part of what the push works on."""
    done(proved.start())
    proved.sections["database"] = {"extensions": ["citext"]}

    second = done(proved.start())

    assert second.one("extensions.finished")["created"] == ["citext"]
    assert reasons(second)["push.started"] == "changed"
    assert reasons(done(proved.start())) == NOTHING


def test_without_push_and_seed_there_is_no_lock(stage: Stage) -> None:
    """A service that only needs its database gets it, and nothing else is done."""
    (stage.directory / "entrypoint.toml").write_text("service = 'demo'\n[push]\ncommand = []\n")
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": stage.url}
    first = Program.start("run", "--", "true", environ=environ, directory=stage.directory)

    assert first.wait() == 0, first.output
    assert first.one("database.finished")["created"] is True
    assert first.one("push.skipped")["reason"] == "no push.command"
    assert first.one("seed.skipped")["reason"] == "no seed.command"
    assert "lock.started" not in first.names()


def test_a_tenant_is_one_however_it_is_written(proved: Stage) -> None:
    """A UUID's letters mean the same in either case, so its seed does not run twice."""
    done(proved.start())
    proved.environ["SEED_TENANT_ID"] = TENANT.upper()

    assert reasons(done(proved.start())) == NOTHING


def test_seed_check_finds_what_somebody_emptied(proved: Stage) -> None:
    """The ledger says seeded, the table says no: seeded again."""
    proved.sections["seed"]["check"] = "select from rpg_heroes where tenant_id = %(tenant_id)s"
    done(proved.start())
    assert reasons(done(proved.start())) == NOTHING
    with proved.connect() as connection:
        connection.execute("delete from rpg_heroes")

    again = reasons(done(proved.start()))

    assert again == {"push.skipped": "unchanged", "seed.started": "seed.check found no row"}
    assert reasons(done(proved.start())) == NOTHING


def test_a_seed_check_that_fails_is_no_proof(proved: Stage) -> None:
    """Neither before the seed nor after it; the lock's transaction survives it."""
    done(proved.start())
    proved.sections["seed"]["check"] = "select from no_such_table where t = %(tenant_id)s"

    program = proved.start()

    assert program.wait() == 8
    assert "42P01" in program.all("seed.check_failed")[0]["error"]
    assert program.one("seed.failed")["check"] == "found no row"


@pytest.mark.parametrize("step", ["push", "seed"])
def test_force_does_one_thing_again(proved: Stage, step: str) -> None:
    """ENTRYPOINT_FORCE runs what it names, whatever the ledger says."""
    done(proved.start())
    proved.environ["ENTRYPOINT_FORCE"] = step

    assert reasons(done(proved.start()))[f"{step}.started"] == "forced"
    assert len(proved.runs(step)) == 2
    assert len(proved.runs("push")) + len(proved.runs("seed")) == 3


def test_without_inputs_the_release_decides(stage: Stage) -> None:
    """Another release pushes and seeds, the same one does not; without both every start does."""
    assert reasons(done(stage.start()))["push.started"].startswith("neither")
    assert reasons(done(stage.start()))["push.started"].startswith("neither")

    stage.environ["SOURCE_COMMIT"] = "abc123"
    assert reasons(done(stage.start()))["push.started"] == "changed"
    assert reasons(done(stage.start())) == NOTHING

    stage.environ["ENTRYPOINT_RELEASE"] = "v2"
    assert reasons(done(stage.start())) == {"push.started": "changed", "seed.started": "changed"}


def release(proved: Stage, content: str, **environ: str) -> Program:
    """Start another release: other inputs, another name, a table of its own."""
    proved.push = python("push", "sql", f"create table if not exists rpg_{content} (id int)")
    (proved.directory / "schema" / "heroes.ts").write_text(content)
    proved.environ |= {"ENTRYPOINT_RELEASE": content, **environ}
    return proved.start()


def test_an_older_release_does_not_push(proved: Stage) -> None:
    """Two releases flip-flop: the newer schema stays, nothing is dropped, and the log says why."""
    done(release(proved, "old"))
    done(release(proved, "new"))
    for _ in range(2):
        older = done(release(proved, "old"))
        skipped = older.one("push.skipped")
        assert skipped["level"] == "warning"
        assert "older" in skipped["reason"]
        assert skipped["pushed_release"] == "new"
        assert "ENTRYPOINT_FORCE=push" in skipped["remedy"]
        assert done(release(proved, "new")).one("push.skipped")["reason"] == "unchanged"
    assert len(proved.runs("push")) == 2


def test_an_older_release_may_push_or_fail(proved: Stage) -> None:
    """`push.on_older` decides; ENTRYPOINT_FORCE=push wins."""
    done(release(proved, "old"))
    done(release(proved, "new"))
    proved.sections["push"]["on_older"] = "fail"
    failed = release(proved, "old")
    assert failed.wait() == 7
    assert "newer release" in failed.one("push.failed")["remedy"]
    assert "handoff.executed" not in failed.names()

    proved.sections["push"]["on_older"] = "push"
    assert "older" in done(release(proved, "old")).one("push.started")["reason"]

    proved.sections["push"]["on_older"] = "fail"
    done(release(proved, "new", ENTRYPOINT_FORCE="push"))


def comment(stage: Stage) -> str:
    """The database's comment."""
    with stage.connect() as connection:
        query = "select shobj_description(oid, 'pg_database') from pg_database where datname = %s"
        row = connection.execute(query, [stage.database]).fetchone()
    assert row is not None
    return row[0] or ""


def set_comment(stage: Stage, text: str) -> None:
    """Write the database's comment as a person would."""
    with stage.connect() as connection:
        statement = sql.SQL("comment on database {} is {}")
        connection.execute(
            statement.format(sql.Identifier(stage.database), sql.Literal(text)),
        )


def test_the_ledger_lives_under_peoples_words(proved: Stage) -> None:
    """The comment keeps its text; the ledger is one line at its end."""
    done(proved.start())
    ledger = comment(proved)
    set_comment(proved, f"The RPG's database.\nAsk Ada.\n{ledger}")
    (proved.directory / "schema" / "heroes.ts").write_text("v2")

    done(proved.start())

    text, _, line = comment(proved).rpartition("\n")
    assert text == "The RPG's database.\nAsk Ada."
    data = json.loads(line.removeprefix("entrypoint:"))
    assert data["v"] == 2
    assert len(data["pushes"]) == 2
    assert list(data["seeds"]) == [TENANT]


def test_the_push_is_recorded_when_the_seed_fails(proved: Stage) -> None:
    """The next start seeds only."""
    good = proved.seed
    proved.seed = python("seed", "{tenant_id}", "exit", "1")
    assert proved.start().wait() == 8
    proved.seed = good

    assert reasons(done(proved.start())) == {"push.skipped": "unchanged", "seed.started": "first"}


@pytest.mark.parametrize("line", ["entrypoint:{", "entrypoint:[]", 'entrypoint:{"v":1}'])
def test_an_unreadable_ledger_is_empty(proved: Stage, line: str) -> None:
    """One warning, no error; the next record replaces it."""
    done(proved.start())
    set_comment(proved, f"words\n{line}")

    program = done(proved.start())

    assert reasons(program) == RAN_FIRST
    assert len(program.all("ledger.ignored")) == 1
    assert comment(proved).startswith("words\nentrypoint:")
    assert reasons(done(proved.start())) == NOTHING


def test_a_ledger_from_the_future_is_not_overwritten(proved: Stage) -> None:
    """One warning that it was not believed, one that nothing was written."""
    done(proved.start())
    future = 'entrypoint:{"v":3,"anything":"else"}'
    set_comment(proved, future)

    program = done(proved.start())

    assert reasons(program) == RAN_FIRST
    assert len(program.all("ledger.ignored")) == len(program.all("ledger.not_written")) == 1
    assert comment(proved) == future


def test_who_does_not_own_the_database_keeps_no_ledger(proved: Stage, role: RoleFactory) -> None:
    """Every start pushes and seeds; one warning says what mends it."""
    done(proved.start())
    other = role()
    with proved.connect() as connection:
        set_comment(proved, "")
        statement = sql.SQL("alter database {} owner to {}")
        names = sql.Identifier(proved.database), sql.Identifier(other.name)
        connection.execute(statement.format(*names))
        connection.execute(
            sql.SQL("grant connect on database {} to {}").format(
                sql.Identifier(proved.database), sql.Identifier(proved.user)
            )
        )
        connection.execute(
            sql.SQL("grant create on schema public to {}").format(sql.Identifier(proved.user))
        )
    for _ in range(2):
        program = done(proved.start())
        assert reasons(program) == RAN_FIRST
        warning = program.one("ledger.not_written")
        assert "OWNER TO" in warning["remedy"]
        assert comment(proved) == ""


def test_a_restored_copy_starts_warm(proved: Stage, database: str) -> None:
    """`create database ... template` has no comment: it pushes once, then starts warm."""
    done(proved.start())
    ledger = comment(proved)
    copy = f"{database}_copy"
    with proved.server.connect() as connection:
        statement = sql.SQL("create database {} template {} owner {}")
        names = [sql.Identifier(name) for name in (copy, proved.database, proved.user)]
        connection.execute(statement.format(*names))
    try:
        proved.database = copy
        set_comment(proved, ledger)
        assert reasons(done(proved.start())) == NOTHING
        set_comment(proved, "")
        assert reasons(done(proved.start())) == RAN_FIRST
        assert reasons(done(proved.start())) == NOTHING
    finally:
        with proved.server.connect() as connection:
            drop = sql.SQL("drop database {} with (force)")
            connection.execute(drop.format(sql.Identifier(copy)))


def test_inputs_that_match_nothing_are_refused(proved: Stage) -> None:
    """A fingerprint of nothing would prove nothing: exit 3 before any connection."""
    proved.sections["push"]["inputs"] = ["schema/**", "no-such/**"]
    program = proved.start()

    assert program.wait() == 3
    assert "'no-such/**'" in program.one("settings.failed")["error"]


def test_followers_that_find_the_work_done_go_straight_on(proved: Stage) -> None:
    """Twenty at once on an empty server: one push, one seed, all succeed."""
    programs = [proved.start() for _ in range(20)]

    assert [program.wait(90) for program in programs] == [0] * 20
    assert len(proved.runs("push")) == len(proved.runs("seed")) == 1
