"""`--offline`: the server's own copy, pruned; what only it refuses, compares and leaves."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.operator.conftest import create_role
from tests.operator.transfer.conftest import OFFLINE, RPG_DB, World
from tests.support.program import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.program import Program

OWNED = """
drop table rpg_items, dnd_rolls, sso_users;
create role rpg_owner; create role sso_owner;
create schema sso authorization sso_owner;
set role rpg_owner; create table game.rpg_heroes as select i from generate_series(1, 100) i;
set role sso_owner; create table sso.sso_users as select 1; reset role
"""

CHANGES = {
    "update": "update rpg_items set name = 'other' where id = 7",
    "insert": "insert into rpg_items (name) values ('new')",
    "delete": "delete from rpg_items where id = 400",
    "exchange": "delete from dnd_rolls where item = 7; insert into dnd_rolls values (7, 99)",
}


def test_everything_moves_as_the_plan_says(small: World) -> None:
    """A dry run writes nothing, the move has its own phases, and --undo brings back every byte."""
    before, rows = small.dump("postgres"), small.rows("postgres")
    plan = small.transfer("--dry-run", "--offline", "--json")
    assert (plan.code, plan.json["result"]) == (0, "planned")
    assert (small.dump("postgres"), small.databases()) == (before, {"postgres"})
    moved = small.moved("--offline")
    assert tuple(moved["durations_s"]) == OFFLINE
    assert [each["object"] for each in moved["objects"]] == [
        each["object"] for each in plan.json["objects"]
    ]
    assert small.rows(RPG_DB) == {k: v for k, v in rows.items() if "sso_" not in k}
    again = small.transfer("--offline", "--json")
    assert (again.code, again.json["result"]) == (0, "nothing to move")
    undone = small.transfer("--undo", "--json")
    assert (undone.code, small.dump("postgres")) == (0, before)
    assert small.databases() == {"postgres", f"{RPG_DB}__undone"}
    assert small.left() == []


def test_the_planner_knows_the_copy(small: World) -> None:
    """The statistics of the source are there, extended ones too, without an ANALYZE."""
    small.sql("create statistics rpg_stats on item, rolled from dnd_rolls; analyze")
    known = "select tablename, attname, n_distinct from pg_stats where schemaname = 'public'"
    before = {row for row in small.sql(known) if not row[0].startswith("sso_")}
    small.moved("--offline")
    assert set(small.sql(known, RPG_DB)) == before
    assert before
    assert small.value("select count(*) from pg_stats_ext", RPG_DB) == 1


def test_checksums_are_made_when_asked_for(small: World) -> None:
    """Without --checksum the rows are counted only; with it they are those of a dump."""
    counted, *others = [
        {
            each["object"]: (each["rows"], each["checksum"])
            for each in _moved_and_back(small, *words)["objects"]
            if each["kind"] == "table"
        }
        for words in (["--offline"], ["--offline", "--checksum"], [])
    ]
    assert counted == {"rpg_items": (500, None), "dnd_rolls": (100, None)}
    assert others[0] == others[1]
    assert None not in [checksum for _, checksum in others[0].values()]


def _moved_and_back(world: World, *words: str) -> dict[str, Any]:
    moved = world.moved(*words)
    assert world.transfer("--undo").code == 0
    return moved


def test_somebody_who_is_connected_is_named(small: World) -> None:
    """A session in the source ends it with who that is; nothing was made, nothing is left."""
    before = small.dump("postgres")
    with small.server.connect() as connection:
        connection.execute("set application_name = 'a worker'")
        refused = small.transfer("--offline")
    assert refused.code == 10
    assert "somebody is connected to 'postgres': a worker (postgres, pid" in refused.err
    assert "without --offline" in refused.err
    assert (small.dump("postgres"), small.databases()) == (before, {"postgres"})
    assert small.left() == []
    small.moved("--offline")


def test_who_leaves_in_time_is_waited_for(small: World) -> None:
    """A session that ends while the server waits for it stops nothing."""
    with small.server.connect():
        program = small.start("--offline")
        program.until("transfer.phase_started", phase="copy")
        copies = "select 1 from pg_stat_activity where query like 'create database%'"
        with small.server.connect("template1") as beside:
            until(lambda: beside.execute(copies).fetchall(), "the copy")
    assert program.wait() == 0, program.output
    assert small.value("select count(*) from rpg_items", RPG_DB) == 500


@pytest.mark.parametrize("change", list(CHANGES))
def test_what_is_written_after_the_copy_is_not_lost(
    small: World, frozen: Callable[[], Program], change: str
) -> None:
    """Whoever writes between the copy and the locks ends the move, and the source keeps it."""
    program = frozen()
    small.sql(CHANGES[change])
    before = small.rows("postgres")
    program.signal(signal.SIGCONT)
    assert program.wait() == 10, program.output
    assert "the rows of 1 tables differ" in program.output
    assert small.rows("postgres") == before
    assert (small.databases(), small.left()) == ({"postgres"}, [])
    small.moved("--offline")
    moved = {name: each for name, each in before.items() if "sso_" not in name}
    assert small.rows(RPG_DB) == moved


def test_a_write_that_changes_nothing_is_summed(
    small: World, frozen: Callable[[], Program]
) -> None:
    """Rows written anew with what they had are younger, so their content decides."""
    program = frozen()
    small.sql("update dnd_rolls set rolled = rolled where item = 7")
    program.signal(signal.SIGCONT)
    assert program.wait() == 0, program.output
    assert small.value("select count(*) from dnd_rolls", RPG_DB) == 100


@pytest.fixture
def frozen(small: World) -> Callable[[], Program]:
    """Begins one that stands still between its copy and its locks."""

    def begin() -> Program:
        small.sql(SLOW_TO_COPY)
        program = small.start("--offline")
        program.until("transfer.phase_started", phase="copy")
        with small.server.connect("template1") as beside:
            until(
                lambda: beside.execute(
                    "select 1 from pg_stat_activity where query like 'create database%'"
                ).fetchall(),
                "the copy",
            )
            program.signal(signal.SIGSTOP)
            there = "select 1 from pg_database where datname = %s"
            until(lambda: beside.execute(there, [f"{RPG_DB}__incoming"]).fetchall(), "its end")
        return program

    return begin


SLOW_TO_COPY = """
create table rpg_big as select i, repeat(md5(i::text), 60) as v from generate_series(1, 26000) i
"""
"""Enough that the copy is seen before it is done."""


def test_a_role_with_the_listed_rights_can_do_it(small: World) -> None:
    """CREATEDB, the source's owner, and who owns what moves and what stays: all of it moves."""
    url = create_role(small.server, "mover", "createdb")
    small.sql(f"create schema game; grant all on schema game to public; {OWNED}")
    refused = small.transfer("--offline", environ={"DATABASE_URL": url})
    assert refused.code == 5
    remedy = refused.failed()["remedy"]
    for owner in ("postgres", "rpg_owner", "sso_owner"):
        assert f'GRANT "{owner}" TO "mover"' in remedy
    assert (small.databases(), small.left()) == ({"postgres"}, [])
    small.sql("create role boss; alter database postgres owner to boss; grant boss to mover")
    small.sql("alter schema public owner to pg_database_owner")
    small.sql("grant rpg_owner, sso_owner to mover")
    done = small.transfer("--offline", "--json", environ={"DATABASE_URL": url})
    assert done.code == 0, done.err
    assert done.json["result"] == "moved"
    assert small.value("select count(*) from game.rpg_heroes", RPG_DB) == 100
    assert small.sql("select 1 from pg_tables where tablename = 'sso_users'", RPG_DB) == []
    assert small.transfer("--undo", environ={"DATABASE_URL": url}).code == 0


def test_another_server_is_refused(small: World) -> None:
    """No server copies to another one, so --to and --offline exclude each other."""
    refused = small.transfer("--offline", "--to", small.server.url())
    assert refused.code == 10
    assert "Leave out --offline or --to." in refused.err
