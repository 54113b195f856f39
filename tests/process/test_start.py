"""The start from nothing to the service, its order and its extent."""

from __future__ import annotations

import json
import os

from tests.support.program import Program, python
from tests.support.stage import TENANT, Stage, service


def test_first_start_on_an_empty_server(stage: Stage) -> None:
    """Creates the database, pushes, seeds and becomes the service, in this order."""
    program = stage.start(*service("exit", "7"))

    assert program.wait() == 7
    assert [name for name in program.names() if not name.endswith(".printed")] == [
        "settings.started",
        "entrypoint.started",
        "settings.gap_found",
        "settings.finished",
        "wait.started",
        "wait.finished",
        "database.started",
        "database.created",
        "database.finished",
        "lock.started",
        "lock.acquired",
        "push.started",
        "push.finished",
        "seed.started",
        "seed.finished",
        "connection.started",
        "connection.finished",
        "handoff.started",
        "handoff.executed",
    ]
    assert json.loads(program.stdout)["pid"] == program.process.pid
    assert program.one("database.finished")["created"] is True
    assert program.one("seed.finished")["tenant_id"] == TENANT
    assert program.one("handoff.executed")["elapsed_s"] > 0
    with stage.connect() as connection:
        heroes = connection.execute("select tenant_id::text, name from rpg_heroes").fetchall()
    assert heroes == [(TENANT, "Ada")]


def test_second_start_creates_nothing(stage: Stage) -> None:
    """A second start finds the database, and its seed adds no row."""
    assert stage.start().wait() == 0

    second = stage.start()

    assert second.wait() == 0
    assert second.one("database.finished")["created"] is False
    assert "inserted 0" in [event["line"] for event in second.all("seed.printed")]


def test_every_step_says_when_it_began_and_how_long_it_took(stage: Stage) -> None:
    """Each started has one finished, skipped or failed, with its seconds; stdout stays empty."""
    stage.environ["SEED_TENANT_ID"] = ""
    program = stage.start()

    assert program.wait() == 0
    assert program.stdout == b""
    for name in ("settings", "wait", "database", "push"):
        program.one(f"{name}.started")
        assert program.one(f"{name}.finished")["elapsed_s"] >= 0
    assert program.one("seed.skipped")["reason"] == "SEED_TENANT_ID is not set"


def test_nothing_runs_after_a_failed_push(stage: Stage) -> None:
    """Exit 7, no seed, no service, and the failure has code, remedy and last lines."""
    stage.push = python("push", "say", "half done", "exit", "3")
    program = stage.start(*service())

    assert program.wait() == 7
    failure = program.one("push.failed")
    assert failure["returncode"] == 3
    assert failure["exit_code"] == 7
    assert failure["tail"] == ["half done"]
    assert failure["remedy"]
    assert not {"seed.started", "handoff.executed", "push.finished"} & set(program.names())
    assert program.stdout == b""
    assert stage.runs("seed") == []


def test_the_service_never_starts_when_the_seed_failed(stage: Stage) -> None:
    """Exit 8; the push stays done."""
    stage.seed = python("seed", "{tenant_id}", "exit", "1")
    program = stage.start(*service())

    assert program.wait() == 8
    assert program.one("seed.failed")["returncode"] == 1
    assert "handoff.executed" not in program.names()
    assert program.stdout == b""
    assert len(stage.runs("push")) == 1


def test_a_push_that_takes_too_long_is_ended(stage: Stage) -> None:
    """Exit 7 at push.timeout; the child, its sessions and the lock are gone."""
    stage.push = python("push", "ready", "sleep", "60")
    stage.sections["push"] = {"timeout": 0.5}
    program = stage.start()

    assert program.wait() == 7
    assert "0 s" in program.one("push.failed")["error"]
    assert program.one("push.failed")["returncode"] == -15
    assert stage.sessions() == []
    assert stage.locks() == 0


def test_prepare_does_all_but_the_handoff(stage: Stage) -> None:
    """`entrypoint prepare` pushes and seeds, execs nothing, writes nothing on stdout."""
    program = stage.start(command="prepare")

    assert program.wait() == 0
    assert program.names()[-1] == "prepare.finished"
    assert program.stdout == b""
    assert len(stage.runs("push")) == len(stage.runs("seed")) == 1


def test_skip_leaves_out_what_it_names(stage: Stage) -> None:
    """ENTRYPOINT_SKIP=seed pushes only."""
    stage.environ["ENTRYPOINT_SKIP"] = "seed"
    program = stage.start()

    assert program.wait() == 0
    assert program.one("seed.skipped")["reason"] == "ENTRYPOINT_SKIP"
    assert len(stage.runs("push")) == 1
    assert stage.runs("seed") == []


def test_with_everything_skipped_run_only_hands_off(stage: Stage) -> None:
    """No connection is made: the server need not even be there."""
    stage.environ |= {
        "ENTRYPOINT_SKIP": "push,seed",
        "DATABASE_URL": "postgres://u:p@127.0.0.1:1/d",
    }
    program = stage.start(*service("exit", "5"))

    assert program.wait() == 5
    for name in ("wait", "database", "push", "seed"):
        program.one(f"{name}.skipped")


def test_extensions_are_there_before_the_push(stage: Stage) -> None:
    """`database.extensions` are created under the lock; the push may use their types."""
    stage.sections["database"] = {"extensions": ["citext"]}
    stage.push = python("push", "sql", "create table rpg_names (name citext)")
    program = stage.start()

    assert program.wait() == 0, program.output
    assert program.one("extensions.finished")["created"] == ["citext"]
    assert program.names().index("extensions.finished") < program.names().index("push.started")
    again = stage.start(command="prepare")
    stage.push = python("push")
    again.wait()
    assert "extensions.started" not in again.names()


def bare(stage: Stage, **environ: str) -> Program:
    """A start in an image whose last stage has no settings file."""
    given = {"PATH": os.environ["PATH"], "DATABASE_URL": stage.url, **environ}
    program = Program.start("run", "--", "true", environ=given, directory=stage.directory)
    stage.started.append(program)
    return program


def test_an_image_that_lacks_its_settings_is_told(stage: Stage) -> None:
    """The database is created and nothing pushed or seeded, as two warnings of each start say."""
    for _ in range(2):
        program = bare(stage, SEED_TENANT_ID=TENANT)

        assert program.wait() == 0, program.output
        push, seed = program.all("settings.gap_found")
        assert push["reason"].startswith(f"no entrypoint.toml in {stage.directory} and no push")
        assert "COPY entrypoint.toml ./" in push["remedy"]
        assert seed["reason"].startswith("SEED_TENANT_ID is set and there is no seed.command")
        assert {push["level"], seed["level"]} == {"warning"}


def test_a_named_service_does_not_start_without_its_settings(stage: Stage) -> None:
    """Exit 3 before any connection; each way out that the remedy names leads to a start."""
    refused = bare(stage, SERVICE_NAME="billing")
    assert refused.wait() == 3
    failure = refused.one("settings.failed")
    assert "no push.command for the service 'billing' (named by SERVICE_NAME)" in failure["error"]
    assert "wait.started" not in refused.names()
    assert "ENTRYPOINT_SKIP=push" in failure["remedy"]
    assert "push.command = []" in failure["remedy"]

    skipped = bare(stage, SERVICE_NAME="billing", ENTRYPOINT_SKIP="push")
    (stage.directory / "entrypoint.toml").write_text("push.command = []\n")
    said = bare(stage, SERVICE_NAME="billing")

    for program, reason in ((skipped, "ENTRYPOINT_SKIP"), (said, "no push.command")):
        assert program.wait() == 0, program.output
        assert program.one("push.skipped")["reason"] == reason
        [unregistered] = program.all("settings.gap_found")
        assert "'billing' (named by SERVICE_NAME) is not in the registry" in unregistered["reason"]
