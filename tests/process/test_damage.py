"""What a failed push left half made, or lost, is held against later starts until it is mended."""

from __future__ import annotations

import re
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from tests.process.test_history import recorded
from tests.process.test_lies import DONE, DROP, INDEX, NOT_VALID, SWORDS, believed, pushed, refused
from tests.process.test_lies import release as next_release
from tests.support.program import CONNECT, python, until
from tests.support.server import Server
from tests.support.stage import Stage
from tests.support.versions import NO_NPM, available, prefix

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.program import Program


def damages(stage: Stage) -> list[str]:
    """What the ledger holds against later starts."""
    return [damage["what"] for damage in recorded(stage).get("damages", [])]


def held(program: Program) -> dict[str, object]:
    """Exit 7 for what an earlier push did."""
    failure = refused(program)
    assert "an earlier push (release v2, " in failure["error"]
    assert "the damage is still there" in failure["error"]
    return failure


def execute(stage: Stage, *statements: str) -> None:
    with stage.connect() as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_an_invalid_index_until_it_is_gone(stage: Stage) -> None:
    """The second and third start refuse it too; the remedy mends it, and the next ones pass."""
    pushed(stage, *SWORDS)
    next_release(stage, "v2", "try", INDEX, "say", DONE)
    assert "left invalid" in refused(stage.start())["error"]
    again = INDEX.replace("concurrently", "concurrently if not exists")
    next_release(stage, "v2", "try", again, "say", DONE)
    held(stage.start())
    failure = held(stage.start())
    assert damages(stage) == ["index rpg_items_name"]

    assert "DROP INDEX rpg_items_name" in str(failure["remedy"])
    execute(stage, "delete from rpg_items where id > 1", "DROP INDEX rpg_items_name")
    believed(stage.start())

    assert damages(stage) == []
    warm = stage.start()
    assert warm.wait() == 0
    assert "lock.started" not in warm.names()


def test_a_reindexed_index_is_whole(stage: Stage) -> None:
    """It is the index's validity that counts, not how it came about."""
    pushed(stage, *SWORDS)
    next_release(stage, "v2", "try", INDEX, "say", DONE)
    refused(stage.start())
    execute(stage, "delete from rpg_items where id > 1", "reindex index rpg_items_name")
    next_release(stage, "v2", "say", DONE)

    believed(stage.start())
    assert damages(stage) == []


def test_a_release_that_was_there_before_can_run(stage: Stage) -> None:
    """A rollback is told of the damage at every start, and pushes and serves all the same."""
    pushed(stage, *SWORDS)
    next_release(stage, "v2", "try", INDEX, "say", DONE)
    refused(stage.start())

    next_release(stage, "v1", *SWORDS)
    for _ in range(3):
        back = stage.start()
        assert back.wait() == 0, back.output
        found = back.one("damage.found")
        assert (found["level"], found["damages"]) == ("warning", ["index rpg_items_name"])
        assert found["pushed_release"] == "v2"
        assert "DROP INDEX" in found["remedy"]

    next_release(stage, "v2", "say", DONE)
    held(stage.start())
    next_release(stage, "v3", "say", DONE)
    held(stage.start())


def test_lost_rows_until_they_may_go(stage: Stage) -> None:
    """Nothing could refuse the drop; the remedy agrees to it, and later starts need no more."""
    pushed(stage, *SWORDS)
    next_release(stage, "v2", "sql", "drop table if exists rpg_items", "say", DONE)
    first = refused(stage.start())
    assert "ENTRYPOINT_ALLOW_LOSS=rpg_items" in first["remedy"]
    held(stage.start())
    failure = held(stage.start())
    assert "ENTRYPOINT_ALLOW_LOSS=rpg_items" in str(failure["remedy"])

    stage.environ["ENTRYPOINT_ALLOW_LOSS"] = "rpg_items"
    believed(stage.start())
    del stage.environ["ENTRYPOINT_ALLOW_LOSS"]

    assert damages(stage) == []
    assert stage.start().wait() == 0


def test_lost_rows_until_they_are_back(stage: Stage) -> None:
    """A table that is there again is not enough; as many rows as were lost are."""
    pushed(stage, *SWORDS)
    next_release(stage, "v2", "sql", DROP, "say", DONE)
    refused(stage.start())
    next_release(stage, "v2", "sql", SWORDS[1], "say", DONE)
    held(stage.start())
    execute(stage, SWORDS[3])

    believed(stage.start())
    assert damages(stage) == []


def test_a_lost_column_until_it_may_go(stage: Stage) -> None:
    """A column of a table with rows is named with its table."""
    pushed(stage, *SWORDS)
    drop = "alter table rpg_items drop column if exists name"
    next_release(stage, "v2", "sql", drop, "say", DONE)
    refused(stage.start())
    held(stage.start())
    assert damages(stage) == ["rpg_items.name"]

    stage.environ["ENTRYPOINT_ALLOW_LOSS"] = "rpg_items.name"
    believed(stage.start())
    assert damages(stage) == []


def test_a_remedy_names_what_needs_quotes(stage: Stage) -> None:
    """Whatever a table is called, what the message says clears it."""
    names = [
        sql.Identifier(name).as_string()
        for name in ("Items", "a,b", " items ", 'one "two"', '"three"', '"four", five', "app.six")
    ]
    tables = [f"create table if not exists {name} as select 1 as id" for name in names]
    pushed(stage, "sql", "; ".join(tables))
    next_release(stage, "v2", "sql", f"drop table if exists {', '.join(names)}", "say", DONE)
    refused(stage.start())
    remedy = str(held(stage.start())["remedy"])

    [_, allow] = remedy.removesuffix(" for one start to go on without them.").split("ALLOW_LOSS=")
    stage.environ["ENTRYPOINT_ALLOW_LOSS"] = allow
    believed(stage.start())
    assert damages(stage) == []


def test_an_index_whose_name_needs_quotes(stage: Stage) -> None:
    """The remedy's statement runs as it is."""
    pushed(stage, *SWORDS)
    index = 'create unique index concurrently "Items, by name" on rpg_items (name)'
    next_release(stage, "v2", "try", index, "say", DONE)
    remedy = refused(stage.start())["remedy"]
    [drop] = re.findall(r"DROP INDEX .*(?=, and start again)", remedy)
    execute(stage, drop)

    next_release(stage, "v2", "say", DONE)
    believed(stage.start())
    assert damages(stage) == []


def test_an_index_that_another_role_is_building(stage: Stage) -> None:
    """It is not valid yet, which is no fault of the push that runs beside."""
    pushed(stage, *SWORDS)
    next_release(stage, "v2", "ready", "wait-for", str(stage.gate), "say", DONE)
    program = stage.start()
    program.until("push.printed")
    index = "create index concurrently by_hand on rpg_items (id)"
    with stage.connect() as writer, stage.connect() as builder, stage.connect() as watcher:
        writer.execute("begin; insert into rpg_items values (9, 'bow')")
        building = threading.Thread(target=builder.execute, args=[index])
        building.start()
        half = "select from pg_index where not indisvalid"
        until(lambda: watcher.execute(half).rowcount > 0, "it is being built")
        stage.gate.touch()
        try:
            believed(program)
        finally:
            writer.execute("commit")
            building.join()
    assert damages(stage) == []


def test_a_lost_column_of_a_table_that_may_go(stage: Stage) -> None:
    """Afterwards, as during a push, a table's name allows what is in it."""
    pushed(stage, *SWORDS)
    drop = "alter table rpg_items drop column if exists name"
    next_release(stage, "v2", "sql", drop, "say", DONE)
    refused(stage.start())

    stage.environ["ENTRYPOINT_ALLOW_LOSS"] = "rpg_items"
    believed(stage.start())
    assert damages(stage) == []


def test_many_rows_that_are_back(stage: Stage) -> None:
    """A restored table that nobody has analysed yet is not taken for one that lacks rows."""
    rows = "insert into rpg_items select generate_series(1, 30000)"
    pushed(stage, *SWORDS[:2], "sql", rows, "sql", "analyze rpg_items")
    next_release(stage, "v2", "sql", DROP, "say", DONE)
    refused(stage.start())
    next_release(stage, "v2", *SWORDS, "say", DONE)
    held(stage.start())
    execute(stage, rows)

    believed(stage.start())
    assert damages(stage) == []


def test_a_loss_that_is_only_told_is_not_held(stage: Stage) -> None:
    """With push.on_loss = "warn" nothing of it is anybody's fault, not even afterwards."""
    pushed(stage, *SWORDS)
    next_release(stage, "v2", "sql", "drop table if exists rpg_items", "say", DONE)
    refused(stage.start())

    stage.sections["push"] = {"on_loss": "warn"}
    believed(stage.start())
    assert damages(stage) == []


def test_a_push_that_was_ended_is_judged_too(stage: Stage) -> None:
    """SIGTERM ends it after it left an index half made; the next start knows whose that was."""
    pushed(stage, *SWORDS)
    next_release(stage, "v2", "try", INDEX, "ready", "hang")
    program = stage.start()
    until(lambda: any("ready" in e["line"] for e in program.all("push.printed")), "it is made")
    program.signal(signal.SIGTERM)
    assert program.wait() == 128 + signal.SIGTERM
    assert damages(stage) == ["index rpg_items_name"]

    next_release(stage, "v2", "say", DONE)
    held(stage.start())


def test_an_invalid_index_of_a_start_that_was_killed(stage: Stage) -> None:
    """Nobody could record it: it is told at each push, until it is gone."""
    pushed(stage, *SWORDS)
    next_release(stage, "v2", "try", INDEX, "ready", "hang")
    program = stage.start()
    until(lambda: any("ready" in e["line"] for e in program.all("push.printed")), "it is made")
    program.signal(signal.SIGKILL)
    program.wait()

    next_release(stage, "v2", "say", DONE)
    after = stage.start()
    believed(after)
    found = after.one("damage.found")
    assert found["damages"] == ["index rpg_items_name"]
    assert (found["pushed_release"], found["pushed_at"]) == (None, None)
    execute(stage, "drop index rpg_items_name")
    mended = stage.start()
    believed(mended)
    assert "damage.found" not in mended.names()


def test_a_failed_push_without_damage_leaves_none(stage: Stage) -> None:
    """What failed by its own word is pushed again, and believed when it succeeds."""
    pushed(stage, *SWORDS)
    for _ in range(2):
        next_release(stage, "v2", "say", DONE, "exit", "3")
        refused(stage.start())
    assert damages(stage) == []
    next_release(stage, "v2", "say", DONE)
    believed(stage.start())


def test_a_constraint_that_is_not_validated_is_told(stage: Stage) -> None:
    """An intended NOT VALID is no half schema: the log says so once, later starts are warm."""
    pushed(stage, *SWORDS)
    next_release(stage, "v2", "try", NOT_VALID, "say", DONE)
    program = stage.start()
    believed(program)

    found = program.one("push.constraints_not_validated")
    assert (found["level"], found["constraints"]) == ("warning", ["rpg_items.cheap"])
    assert "VALIDATE CONSTRAINT" in found["remedy"]
    for _ in range(2):
        warm = stage.start()
        assert warm.wait() == 0
        assert warm.one("push.skipped")["reason"] == "unchanged"
    execute(stage, "delete from rpg_items", "alter table rpg_items validate constraint cheap")
    drift = stage.start()
    believed(drift)
    assert "push.constraints_not_validated" not in drift.names()


def test_a_seed_that_makes_a_table_is_no_drift(stage: Stage) -> None:
    """The schema is recorded after push and seed; a seed that fails records the push alone."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    make = "create table if not exists rpg_names (name text)"
    stage.seed = python("seed", "{tenant_id}", "sql", make, "exit", "1")
    for _ in range(2):
        failed = stage.start()
        assert failed.wait() == 8, failed.output
    stage.seed = python("seed", "{tenant_id}", "sql", make)
    mended = stage.start()
    assert mended.wait() == 0, mended.output

    for _ in range(2):
        warm = stage.start()
        assert warm.wait() == 0
        assert "lock.started" not in warm.names()
        assert warm.one("push.skipped")["reason"] == "unchanged"
    execute(stage, "create table by_hand (id int)")
    assert stage.start().until("push.started")["reason"] == "drift"


def test_a_seed_alone_may_change_the_schema(stage: Stage) -> None:
    """Where the push was unchanged and the seed is new, the next start is warm again."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    assert stage.start().wait() == 0
    stage.environ["ENTRYPOINT_FORCE"] = "seed"
    stage.seed = python("seed", "{tenant_id}", "sql", "create table rpg_more (id int)")
    changed = stage.start()
    assert changed.wait() == 0, changed.output
    del stage.environ["ENTRYPOINT_FORCE"]

    warm = stage.start()
    assert warm.wait() == 0
    assert "lock.started" not in warm.names()


@pytest.mark.parametrize("crash", [False, True])
def test_rows_that_the_push_took_are_seeded_again(stage: Stage, *, crash: bool) -> None:
    """An allowed loss voids what the ledger says of the seed, also if that start ends there."""
    next_release(stage, "v1")
    believed(stage.start())
    empty = "truncate rpg_heroes"
    next_release(stage, "v2", "sql", empty)
    stage.environ["ENTRYPOINT_ALLOW_LOSS"] = "rpg_heroes"
    seed = stage.seed
    if crash:
        stage.seed = python("seed", "{tenant_id}", "exit", "1")
        failed = stage.start()
        assert failed.wait() == 8, failed.output
        stage.seed = seed
    program = stage.start()
    assert program.wait() == 0, program.output

    assert program.one("seed.started")["reason"] in ("first", "changed")
    with stage.connect() as connection:
        assert connection.execute("select from rpg_heroes").rowcount > 0


PUSHES_NOTHING = [
    pytest.param(["true"], id="nothing"),
    pytest.param(["node", "-e", "new Promise(() => {}).then(() => 1)"], id="unsettled"),
]


@pytest.mark.parametrize("command", PUSHES_NOTHING)
def test_a_push_that_never_connects(stage: Stage, command: list[str]) -> None:
    """Exit code 0 without a session in this database is no proof, at no start."""
    next_release(stage, "v1")
    believed(stage.start())
    next_release(stage, "v2")
    stage.push = command
    for _ in range(3):
        failure = refused(stage.start())
        assert "never connected" in failure["error"]
        assert failure["connected"] is False
        assert "push.command = []" in failure["remedy"]


@pytest.mark.parametrize("major", [14, 15])
def test_an_older_server_counts_sessions_too(tmp_path: Path, major: int) -> None:
    """14 counts late: sessions of our own from just before the push are not taken for its own."""
    if not available(major):
        pytest.skip(NO_NPM)
    with Server.start(prefix=prefix(major)) as server:
        stage = Stage(tmp_path, server, "service", server.superuser, server.password)
        next_release(stage, "v1")
        believed(stage.start())
        next_release(stage, "v2")
        stage.push = ["true"]
        assert "never connected" in refused(stage.start())["error"]
        stage.push = CONNECT
        assert believed(stage.start())["connected"] is True


def test_a_push_that_connects_elsewhere(stage: Stage) -> None:
    """A .env file that leads to another database is found out, although that is well."""
    next_release(stage, "v1")
    believed(stage.start())
    next_release(stage, "v2")
    other = stage.server.url("postgres", stage.user, stage.password)
    stage.push = ["sh", "-c", f"DATABASE_URL='{other}' exec \"$@\"", "sh", *CONNECT]

    assert "never connected" in refused(stage.start())["error"]


def test_a_push_that_connects_and_finds_nothing_to_do(stage: Stage) -> None:
    """One short session is enough, also beside sessions that stay, and those that come and go."""
    next_release(stage, "v1")
    believed(stage.start())
    next_release(stage, "v2")
    stage.push = CONNECT
    with stage.connect(), stage.connect():
        finished = believed(stage.start())
    assert finished["connected"] is True
    assert finished["catalog"] == "unchanged"


def test_another_service_beside_it_is_no_push(stage: Stage) -> None:
    """A session that began meanwhile and stays is somebody else's."""
    next_release(stage, "v1")
    believed(stage.start())
    next_release(stage, "v2")
    stage.push = ["sh", "-c", "echo begun; while [ ! -e go ]; do sleep 0.05; done"]
    program = stage.start()
    program.until("push.printed")
    with psycopg.connect(stage.url) as connection:
        connection.execute("select 1")
        stage.gate.touch()
        assert "never connected" in refused(program)["error"]


def test_bookkeeping_is_no_table_of_the_service(stage: Stage) -> None:
    """TypeORM with a glob that matches nothing makes its own table, and no other."""
    make = "create table migrations (id serial, timestamp bigint, name varchar)"
    stage.push = python("execute", make)

    assert "there is no table in the database" in refused(stage.start())["error"]


def asleep(connection: psycopg.Connection) -> None:
    with suppress(psycopg.errors.QueryCanceled):
        connection.execute("select pg_sleep(60)")


def test_another_roles_worker_is_no_session(stage: Stage) -> None:
    """It is not taken for one that began and stays, which would hide the push's own: exit 0."""
    next_release(stage, "v1")
    believed(stage.start())
    next_release(stage, "v2")
    words = '"$@" && echo begun; while [ ! -e go ]; do sleep 0.05; done'
    stage.push = ["sh", "-c", words, "sh", *CONNECT]
    workers = "select count(*) from pg_stat_activity where backend_type = 'parallel worker'"
    with stage.connect() as analyst, stage.connect() as watcher:
        analyst.execute("set debug_parallel_query = on")
        program = stage.start()
        program.until("push.printed")
        query = threading.Thread(target=asleep, args=[analyst])
        query.start()
        until(lambda: watcher.execute(workers).fetchone() != (0,), "the worker works")
        stage.gate.touch()
        try:
            assert believed(program)["connected"] == "unknown"
        finally:
            analyst.cancel()
            query.join()
