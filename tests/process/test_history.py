"""What starts of several releases, and of several services, believe of each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from tests.support.program import python
from tests.support.stage import TENANT

if TYPE_CHECKING:
    from tests.support.program import Program
    from tests.support.stage import Stage

OLDER = "an older release: a newer one has pushed its schema since"

SCHEMAS = {
    "A": ["alter table rpg_heroes drop column if exists level"],
    "B": ["alter table rpg_heroes add column if not exists level int"],
    "C": ["alter table rpg_heroes add column if not exists class text"],
}
"""What a state-based push of each release does: A's drops the column that B's adds."""


def release(
    stage: Stage, schema: str, name: str | None, *, seed: str | None = None, **environ: str
) -> Program:
    """Start a release, which has a name, inputs and a push that depend on its schema alone."""
    folder = stage.directory / "schema"
    folder.mkdir(exist_ok=True)
    (folder / "heroes.ts").write_text(schema)
    (folder / "seed.json").write_text(seed or "the seed of all")
    words = [word for statement in SCHEMAS[schema] for word in ("sql", statement)]
    stage.push = python("push", *words)
    stage.seed = python("seed", "{tenant_id}")
    # What these pushes drop may go: who refuses a loss is another test's.
    stage.sections["push"] = {"inputs": ["schema/heroes.ts"], "on_loss": "warn"}
    stage.sections["seed"] = {"inputs": ["schema/seed.json"]}
    stage.environ.pop("ENTRYPOINT_RELEASE", None)
    if name:
        stage.environ["ENTRYPOINT_RELEASE"] = name
    before = dict(stage.environ)
    stage.environ |= environ
    program = stage.start()
    assert program.wait() == 0, program.output
    stage.environ = before
    return program


def reasons(program: Program) -> tuple[str, str]:
    """Why push and seed ran, or did not."""
    found = []
    for step in ("push", "seed"):
        [event] = program.all(f"{step}.started") + program.all(f"{step}.skipped")
        ran = event["event"].endswith("started")
        found.append(f"{'ran' if ran else 'skipped'}: {event['reason']}")
    return found[0], found[1]


def columns(stage: Stage) -> set[str]:
    """What the service's table has."""
    query = (
        "select attname from pg_attribute where attrelid = 'rpg_heroes'::regclass and attnum > 0"
    )
    with stage.connect() as connection:
        rows = connection.execute(f"{query} and not attisdropped").fetchall()
    return {name for (name,) in rows}


def recorded(stage: Stage) -> dict[str, Any]:
    """The ledger."""
    query = "select shobj_description(oid, 'pg_database') from pg_database where datname = %s"
    with stage.connect() as connection:
        row = connection.execute(query, [stage.database]).fetchone()
    assert row is not None
    found: dict[str, Any] = json.loads(row[0].removeprefix("entrypoint:"))
    return found


UNCHANGED = ("skipped: unchanged", "skipped: seeded")


def test_a_revert(stage: Stage) -> None:
    """A third release with the first one's files is new: it is pushed, and later starts skip."""
    release(stage, "A", "v1")
    release(stage, "B", "v2")
    assert "level" in columns(stage)

    assert reasons(release(stage, "A", "v3")) == ("ran: changed", "skipped: seeded")

    assert "level" not in columns(stage)
    for _ in range(2):
        assert reasons(release(stage, "A", "v3")) == UNCHANGED
    assert reasons(release(stage, "B", "v2"))[0] == f"skipped: {OLDER}"
    assert "level" not in columns(stage)


def test_a_rollback(stage: Stage) -> None:
    """A release that was here before neither pushes nor seeds; the newer one is as it was."""
    release(stage, "A", "v1", seed="one")
    release(stage, "B", "v2", seed="two")
    for _ in range(2):
        back = release(stage, "A", "v1", seed="one")
        assert reasons(back) == (f"skipped: {OLDER}", f"skipped: {OLDER}")
        assert back.one("seed.skipped")["pushed_release"] == "v2"
        assert "ENTRYPOINT_FORCE=seed" in back.one("seed.skipped")["remedy"]
        assert reasons(release(stage, "B", "v2", seed="two")) == UNCHANGED
    assert "level" in columns(stage)
    assert (len(stage.runs("push")), len(stage.runs("seed"))) == (2, 2)


def test_a_rollback_seeds_a_tenant_that_never_was(stage: Stage) -> None:
    """Nobody else made that tenant's rows."""
    release(stage, "A", "v1")
    release(stage, "B", "v2")
    other = TENANT.replace("6", "7")

    back = release(stage, "A", "v1", SEED_TENANT_ID=other)

    assert reasons(back) == (f"skipped: {OLDER}", "ran: first")
    assert set(recorded(stage)["seeds"]) == {TENANT, other}


def test_the_remedy_of_a_rollback(stage: Stage) -> None:
    """ENTRYPOINT_FORCE does what the warning says: the older release is the current one then."""
    release(stage, "A", "v1", seed="one")
    release(stage, "B", "v2", seed="two")
    forced = release(stage, "A", "v1", seed="one", ENTRYPOINT_FORCE="push")

    assert reasons(forced) == ("ran: forced", "ran: changed")
    assert "level" not in columns(stage)
    assert reasons(release(stage, "A", "v1", seed="one")) == UNCHANGED
    assert reasons(release(stage, "B", "v2", seed="two"))[0] == f"skipped: {OLDER}"
    assert recorded(stage)["pushes"][-1]["older"] is True


def test_a_late_replica_of_a_release_that_pushed_nothing(stage: Stage) -> None:
    """A release whose inputs were the last one's is remembered, though it had nothing to do."""
    release(stage, "A", "v1")
    assert reasons(release(stage, "A", "v2")) == UNCHANGED
    release(stage, "B", "v3")

    assert reasons(release(stage, "A", "v2"))[0] == f"skipped: {OLDER}"
    assert "level" in columns(stage)


def test_the_second_start_of_a_new_release_takes_no_lock(stage: Stage) -> None:
    """The first one writes its name into the ledger, for which it needs the lock."""
    release(stage, "A", "v1")
    first, second = release(stage, "A", "v2"), release(stage, "A", "v2")

    assert ("lock.acquired" in first.names(), "lock.acquired" in second.names()) == (True, False)
    assert [push["releases"] for push in recorded(stage)["pushes"]] == [["v1", "v2"]]


def test_a_late_replica_with_the_current_inputs_is_not_the_newest(stage: Stage) -> None:
    """It repairs what was changed by hand, and the release after it stays the last."""
    release(stage, "A", "v1", seed="one")
    release(stage, "A", "v2", seed="two")
    with stage.connect() as connection:
        connection.execute("create table by_hand (id int)")

    assert reasons(release(stage, "A", "v1", seed="one")) == ("ran: drift", f"skipped: {OLDER}")

    assert [push["releases"] for push in recorded(stage)["pushes"]] == [["v1", "v2"]]
    assert reasons(release(stage, "A", "v2", seed="two")) == UNCHANGED


def test_more_than_twenty_pushes(stage: Stage) -> None:
    """A replica of the release before them is late, however often the newer one was pushed."""
    release(stage, "A", "v1")
    for _ in range(21):
        release(stage, "B", "v2", ENTRYPOINT_FORCE="push")

    assert reasons(release(stage, "A", "v1"))[0] == f"skipped: {OLDER}"
    assert "level" in columns(stage)
    assert len(recorded(stage)["pushes"]) == 2


def test_a_flag_that_was_set_once(stage: Stage) -> None:
    """One start with another command, then as before: what it left is unchanged, drift is seen."""
    release(stage, "A", "v1")
    command = " ".join([*python("push"), "say", "verbose"])
    assert reasons(release(stage, "A", "v1", ENTRYPOINT_PUSH_COMMAND=command))[0] == "ran: changed"

    for _ in range(2):
        assert reasons(release(stage, "A", "v1")) == UNCHANGED
    with stage.connect() as connection:
        connection.execute("create table by_hand (id int)")
    assert reasons(release(stage, "A", "v1"))[0] == "ran: drift"
    assert reasons(release(stage, "A", "v1")) == UNCHANGED


def test_without_a_release_nothing_tells_a_revert(stage: Stage) -> None:
    """Old inputs are a late replica's then; the warning says both ways out, and each works."""
    release(stage, "A", None)
    release(stage, "B", None)
    reverted = release(stage, "A", None)
    assert reasons(reverted)[0] == f"skipped: {OLDER}"
    remedy = reverted.one("push.skipped")["remedy"]
    assert "ENTRYPOINT_FORCE=push" in remedy
    assert "ENTRYPOINT_RELEASE" in remedy
    assert "level" in columns(stage)

    assert reasons(release(stage, "A", "v3"))[0] == "ran: changed"
    assert "level" not in columns(stage)
    release(stage, "B", None)
    release(stage, "A", None, ENTRYPOINT_FORCE="push")
    assert "level" not in columns(stage)


def test_a_release_with_one_name_for_all(stage: Stage) -> None:
    """It tells no more than none does: old inputs are a late replica's."""
    release(stage, "A", "production")
    release(stage, "B", "production")

    assert reasons(release(stage, "A", "production"))[0] == f"skipped: {OLDER}"
    assert reasons(release(stage, "C", "production"))[0] == "ran: changed"
    assert {"level", "class"} <= columns(stage)


@pytest.mark.parametrize("commit", ["HEAD", "main", "${SOURCE_COMMIT}"])
def test_a_commit_that_is_none(stage: Stage, commit: str) -> None:
    """Without inputs every start pushes then, and the log says what was ignored."""
    stage.environ["SOURCE_COMMIT"] = commit
    for column in ("a", "b"):
        stage.push = python("push", "sql", f"alter table rpg_heroes add column {column} int")
        program = stage.start()
        assert program.wait() == 0, program.output
        assert program.one("entrypoint.started")["release"] is None
        assert program.one("entrypoint.started")["release_ignored"] == commit
        assert program.one("push.started")["reason"].startswith("neither inputs nor a release")
    assert {"a", "b"} <= columns(stage)


def test_a_release_that_was_not_filled_in(stage: Stage) -> None:
    """Exit 3, before anything is done."""
    stage.environ["ENTRYPOINT_RELEASE"] = "${SOURCE_COMMIT}"
    program = stage.start()

    assert program.wait() == 3
    assert "ENTRYPOINT_RELEASE" in program.one("settings.failed")["error"]


@pytest.mark.parametrize("releases", [("v1", "v9"), (None, None)])
def test_two_services_in_one_database(
    stage: Stage, releases: tuple[str | None, str | None]
) -> None:
    """Neither makes the other older, each is warned of the other, and both come to rest."""
    first, second = releases
    release(stage, "A", first, ENTRYPOINT_SERVICE="rpg")
    warned = release(stage, "C", second, ENTRYPOINT_SERVICE="hr")
    assert warned.one("database.shared")["services"] == ["rpg"]
    assert reasons(warned)[0] == "ran: first"

    for _ in range(2):
        again = release(stage, "A", first, ENTRYPOINT_SERVICE="rpg")
        assert again.one("database.shared")["level"] == "warning"
        release(stage, "C", second, ENTRYPOINT_SERVICE="hr")
    assert reasons(release(stage, "A", first, ENTRYPOINT_SERVICE="rpg")) == UNCHANGED
    assert reasons(release(stage, "C", second, ENTRYPOINT_SERVICE="hr")) == UNCHANGED
    assert "class" in columns(stage)


@pytest.mark.parametrize("seeds", [("one", "one"), ("one", "two")])
def test_two_services_that_seed_one_tenant(stage: Stage, seeds: tuple[str, str]) -> None:
    """Neither takes the other's seed for its own, whether or not they look alike; both rest."""

    def start(service: str, seed: str) -> tuple[str, str]:
        return reasons(release(stage, "A", "v1", seed=seed, ENTRYPOINT_SERVICE=service))

    start("rpg", seeds[0])
    assert start("hr", seeds[1]) == ("ran: first", "ran: first")
    start("rpg", seeds[0])  # until now it was not known whose the first seed was

    for _ in range(2):
        assert start("rpg", seeds[0]) == UNCHANGED
        assert start("hr", seeds[1]) == UNCHANGED


def test_a_service_that_was_renamed(stage: Stage) -> None:
    """The warning's remedy makes the ledger forget the former name."""
    release(stage, "A", "v1", ENTRYPOINT_SERVICE="rpg")
    renamed = release(stage, "A", "v2", ENTRYPOINT_SERVICE="rpg-2")
    assert "ENTRYPOINT_FORCE=push" in renamed.one("database.shared")["remedy"]

    release(stage, "A", "v2", ENTRYPOINT_SERVICE="rpg-2", ENTRYPOINT_FORCE="push")

    silent = release(stage, "A", "v2", ENTRYPOINT_SERVICE="rpg-2")
    assert "database.shared" not in silent.names()
    assert reasons(silent) == UNCHANGED


def test_a_ledger_of_the_first_format(stage: Stage) -> None:
    """It is believed, and the next release writes the new one."""
    release(stage, "A", "v1")
    release(stage, "B", "v2")
    book = recorded(stage)
    for push in book["pushes"]:
        [push["release"]] = push.pop("releases")
        del push["service"], push["older"]
    old = "words\nentrypoint:" + json.dumps(book | {"v": 1})
    statement = sql.SQL("comment on database {} is {}")
    with stage.connect() as connection:
        connection.execute(statement.format(sql.Identifier(stage.database), sql.Literal(old)))

    assert reasons(release(stage, "B", "v2")) == UNCHANGED
    assert reasons(release(stage, "A", "v1"))[0] == f"skipped: {OLDER}"
    assert reasons(release(stage, "A", "v3"))[0] == "ran: changed"


@pytest.mark.parametrize("named", [True, False])
def test_a_seed_without_a_push(stage: Stage, *, named: bool) -> None:
    """A service that pushes nothing has releases too: an older one's seed leaves rows alone."""

    def start(seed: str, name: str) -> Program:
        (stage.directory / "seed.json").write_text(seed)
        stage.environ["ENTRYPOINT_RELEASE"] = name
        program = stage.start()
        assert program.wait() == 0, program.output
        return program

    assert stage.start(command="prepare").wait() == 0
    stage.environ["ENTRYPOINT_SKIP"] = "" if named else "push"
    stage.sections["seed"] = {"inputs": ["seed.json"]}
    stage.push = [] if named else stage.push
    start("one", "v1")
    start("two", "v2")
    back = start("one", "v1")

    if named:
        assert back.one("seed.skipped")["reason"] == OLDER
        assert start("two", "v2").one("seed.skipped")["reason"] == "seeded"
    else:  # who pushes elsewhere has no history here
        assert back.one("seed.started")["reason"] == "changed"
