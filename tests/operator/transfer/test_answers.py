"""What a transfer refuses, answers, puts back, removes and replaces."""

from __future__ import annotations

import json
import signal
from itertools import pairwise
from typing import TYPE_CHECKING, get_args

import pytest

from entrypoint.cli import main
from entrypoint.operator.report import Transferred
from tests.operator.conftest import answer
from tests.operator.transfer.conftest import (
    CROSSING,
    PHASES,
    RPG,
    RPG_DB,
    SOURCE,
    WITH,
    World,
    allowing,
)

if TYPE_CHECKING:
    from pathlib import Path

STRANGE = """
create extension postgres_fdw;
create server elsewhere foreign data wrapper postgres_fdw;
create foreign table rpg_far (id int) server elsewhere;
create table "RPG_Old" (id int);
create table sso_places (id int, region text) partition by list (region);
create table rpg_places partition of sso_places for values in ('eu');
create function helper(text) returns text language sql immutable as 'select lower($1)';
create function lowered(text) returns text language sql immutable as 'select helper($1)';
create table rpg_bodies (v text check (lowered(v) <> ''));
insert into rpg_bodies values ('A')
"""


@pytest.mark.long
def test_each_obstacle_is_named_and_agreed_to_by_name(world: World) -> None:
    """Without agreement each is refused; agreeing to all but one still refuses that one."""
    world.psql(SOURCE)
    refused = world.transfer(*WITH)
    assert refused.code == 10
    assert sorted(refused.obstacles) == sorted(CROSSING)
    for name in CROSSING:
        others = [each for each in CROSSING if each != name]
        again = world.transfer(*WITH, *allowing(*others))
        assert again.code == 10
        assert again.obstacles == [name]
    assert world.databases() == {"postgres"}


def test_what_no_agreement_helps_is_refused(small: World) -> None:
    """A body that no restore can run, and a partition without its parent, stay refused."""
    small.sql(STRANGE)
    plan = small.transfer("--dry-run", "--json").json
    found = {each["name"]: each["allowable"] for each in plan["obstacles"]}
    assert found == {
        "foreign_table:rpg_far": True,
        'lookalike:"RPG_Old"': True,
        "partition:rpg_places": False,
        "body:rpg_bodies.rpg_bodies_v_check": False,
    }
    refused = small.transfer(*allowing(*found))
    assert refused.code == 10
    assert refused.obstacles == [
        "partition:rpg_places",
        "body:rpg_bodies.rpg_bodies_v_check",
    ]


def test_an_extension_s_own_table_is_told_apart(small: World) -> None:
    """A relation of an extension's with the service's prefix is named, and never moves."""
    small.sql("create table rpg_ext (id int); alter extension plpgsql add table rpg_ext")
    plan = small.transfer("--dry-run", "--json").json
    assert [each["name"] for each in plan["obstacles"]] == ["extension:rpg_ext"]
    moved = small.moved("--allow", "extension:rpg_ext")
    assert "rpg_ext" not in [each["object"] for each in moved["objects"]]


def test_a_dry_run_writes_nothing(small: World) -> None:
    """It answers with the plan in the same shape as a move, and leaves no trace."""
    before = small.dump("postgres")
    plan = small.transfer("--dry-run", "--json")
    assert (plan.code, plan.json["result"]) == (0, "planned")
    assert set(plan.json) == set(Transferred.model_fields)
    assert {each["object"]: each["reason"] for each in plan.json["objects"]} == {
        "dnd_rolls": "prefix",
        "rpg_items": "prefix",
        "rpg_items_id_seq": "of rpg_items",
    }
    assert plan.json["stays"] == ["sso_users"]
    assert small.dump("postgres") == before
    assert (small.databases(), small.left()) == ({"postgres"}, [])


def test_the_json_answer_is_one_object_of_the_schema(small: World, tmp_path: Path) -> None:
    """Nothing else is on stdout, and the report has every table, its rows and its checksum."""
    done = small.transfer("--json", "--report", str(tmp_path / "moved.md"))
    found = Transferred.model_validate_json(done.out)
    assert found.result == "moved"
    assert set(found.durations_s) == set(PHASES)
    report = (tmp_path / "moved.md").read_text()
    for each in found.objects:
        assert each.object in report
        assert str(each.checksum or "") in report
    assert found.result in get_args(Transferred.model_fields["result"].annotation)


def test_twice_says_that_nothing_is_to_be_moved(small: World) -> None:
    """The second run changes nothing and succeeds, with the same arguments too."""
    small.sql("create schema drizzle; create table drizzle.__drizzle_migrations (id int)")
    small.moved("--with", "drizzle.__drizzle_migrations")
    again = small.transfer("--json", "--with", "drizzle.__drizzle_migrations")
    assert (again.code, again.json["result"]) == (0, "nothing to move")
    misspelt = small.transfer("--with", "drizzle.__drizzle_migration")
    assert misspelt.code in {0, 10}


def test_a_name_that_is_not_there_is_told(small: World) -> None:
    """A misspelt --with ends before anything is looked at further."""
    refused = small.transfer("--with", "rpg_itmes")
    assert refused.code == 10
    assert "there is no 'rpg_itmes'" in refused.err


def test_two_at_once_are_one_and_a_refusal(small: World) -> None:
    """The second says who moves, and the first is not disturbed."""
    first = small.start()
    first.until("transfer.phase_started", phase="dump")
    first.signal(signal.SIGSTOP)
    try:
        second = small.transfer()
    finally:
        first.signal(signal.SIGCONT)
    assert second.code == 10
    assert "another transfer from 'postgres' is under way: pid" in second.err
    assert "entrypoint/operator" in second.err
    assert first.wait() == 0, first.output


def test_tools_older_than_the_server_are_refused(small: World, tmp_path: Path) -> None:
    """Both versions are told before anything is locked or made, and what to install."""
    for name in ("pg_dump", "pg_restore"):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6.24'\n")
        tool.chmod(0o755)
    refused = small.transfer(environ={"PG_BINDIR": str(tmp_path)})
    assert refused.code == 10
    assert "pg_dump has version 9" in refused.failed()["error"]
    assert "PG_BINDIR" in refused.failed()["remedy"]
    assert (small.databases(), small.left()) == ({"postgres"}, [])


def test_two_sources_at_once_are_one_and_a_refusal(small: World) -> None:
    """Whoever moves to the same target from another database is told who, and harms nothing."""
    small.sql("create database elsewhere")
    small.sql("create table rpg_others (id int); insert into rpg_others values (1)", "elsewhere")
    first = small.start()
    first.until("transfer.phase_started", phase="restore")
    first.signal(signal.SIGSTOP)
    try:
        second = small.transfer("--from", "elsewhere")
    finally:
        first.signal(signal.SIGCONT)
    assert second.code == 10
    assert f"another transfer to {RPG_DB!r} is under way: pid" in second.err
    assert first.wait() == 0, first.output
    assert small.value("select count(*) from rpg_items", RPG_DB) == 500
    assert small.value("select count(*) from rpg_others", "elsewhere") == 1
    assert small.left() == []


def test_nobody_agrees_without_a_terminal(small: World) -> None:
    """A move, an undo and a removal that nobody agreed to do nothing and end with 10."""
    words = ["transfer", RPG]
    refused = small.operator.run(*words, environ=small.environ())
    assert (refused.code, small.databases()) == (10, {"postgres"})
    small.moved()
    before = small.dump("postgres")
    for word in ("--undo", "--drop-quarantine"):
        refused = small.operator.run(*words, word, environ=small.environ())
        assert refused.code == 10
        assert "the operator did not agree; nothing was changed" in refused.err
    assert small.dump("postgres") == before


def test_a_quarantine_in_use_is_not_removed(small: World) -> None:
    """What still uses it is named; without that it goes for good, and the rest stays."""
    small.sql("create view sso_items as select * from rpg_items")
    small.moved("--allow", "view:sso_items")
    refused = small.transfer("--drop-quarantine")
    assert refused.code == 10
    assert "sso_items" in refused.err
    assert small.value("select count(*) from sso_items") == 500
    small.sql("drop view sso_items")
    done = small.transfer("--drop-quarantine", "--json")
    assert (done.code, done.json["result"]) == (0, "dropped")
    assert small.sql("select 1 from pg_namespace where nspname like 'moved%'") == []
    assert small.value("select count(*) from sso_users") == 1
    assert small.value("select count(*) from rpg_items", RPG_DB) == 500
    assert small.transfer("--undo").code == 10


@pytest.mark.parametrize(
    ("make", "use", "asked"),
    [
        (
            "create type rpg_kind as enum ('a')",
            "create table crm_a (kind rpg_kind)",
            "insert into crm_a values ('a')",
        ),
        (
            "create function rpg_norm(text) returns text language sql immutable as 'select $1'",
            "create view crm_a as select rpg_norm('x')",
            "select * from crm_a",
        ),
        (
            "create domain rpg_level as int",
            "create function crm_a(rpg_level) returns int language sql as 'select 1'",
            "select crm_a(1)",
        ),
    ],
    ids=["type", "function", "domain"],
)
def test_others_who_use_types_and_functions_keep_them(
    small: World, make: str, use: str, asked: str
) -> None:
    """The source keeps what others need, whatever it is called, also when the quarantine goes."""
    small.sql(f"{make}; {use}")
    [obstacle] = small.transfer("--dry-run", "--json").json["obstacles"]
    assert "crm_a" in obstacle["name"]
    assert "the source keeps" in obstacle["remedy"]
    small.moved("--allow", obstacle["name"])
    small.sql(asked)
    assert small.transfer("--drop-quarantine").code == 0
    small.sql(asked)


def test_a_sequence_that_others_use_is_not_removed(small: World) -> None:
    """A default of another service's goes on counting in the quarantine, which then stays."""
    small.sql("create sequence rpg_no")
    small.sql("create table crm_a (id bigint default nextval('rpg_no'), v text)")
    small.moved("--allow", "default:crm_a.id")
    assert small.sql("insert into crm_a default values returning id") == [(1,)]
    refused = small.transfer("--drop-quarantine")
    assert refused.code == 10
    assert "crm_a" in refused.err


def test_undo_keeps_each_target_aside(small: World) -> None:
    """Two moves and two undoes keep two databases, and what the service wrote is in them."""
    for _ in range(2):
        before = small.dump("postgres")
        small.moved()
        small.sql("insert into rpg_items (name) values ('new')", RPG_DB)
        done = small.transfer("--undo", "--json")
        assert done.code == 0, done.err
        assert small.dump("postgres") == before
        kept = done.json["kept_database"]
        assert small.value("select count(*) from rpg_items where name = 'new'", kept) == 1
    assert small.databases() == {"postgres", f"{RPG_DB}__undone", f"{RPG_DB}__undone_2"}


def test_an_empty_target_is_replaced(small: World) -> None:
    """What a push had made without rows is gone; owner and grants of the database stay."""
    small.sql("create role rpg_owner login; create role rpg_reader login")
    small.sql(f"create database {RPG_DB} owner rpg_owner")
    small.sql(f"revoke connect on database {RPG_DB} from public")
    small.sql(f"grant connect on database {RPG_DB} to rpg_reader")
    small.sql(f"alter database {RPG_DB} set work_mem = '7MB'")
    small.sql("create table rpg_items (other int); create table rpg_new (id int)", RPG_DB)
    rights = "select datdba::regrole::text, datacl::text from pg_database where datname ~ '_rpg_'"
    before = small.sql(rights)
    moved = small.moved()
    assert moved["kept_database"] is None
    assert small.databases() == {"postgres", RPG_DB}
    assert small.value("select count(name) from rpg_items", RPG_DB) == 500
    assert small.sql("select 1 from pg_tables where tablename = 'rpg_new'", RPG_DB) == []
    assert small.sql(rights) == before
    assert small.value("show work_mem", RPG_DB) == "7MB"


def test_a_target_with_rows_is_kept_if_agreed(small: World) -> None:
    """It is refused, with the table that has rows; agreed to, it lies beside, until an undo."""
    small.sql(f"create database {RPG_DB}")
    small.sql("create table rpg_items (id int); insert into rpg_items values (7)", RPG_DB)
    refused = small.transfer()
    assert refused.code == 10
    assert refused.obstacles == ["target"]
    assert "rows already, in rpg_items" in refused.err
    for _ in range(2):
        moved = small.moved("--allow", "target")
        assert moved["kept_database"] == f"{RPG_DB}__replaced"
        assert small.value("select count(*) from rpg_items", RPG_DB) == 500
        assert small.transfer("--undo").code == 0
        assert small.value("select id from rpg_items", RPG_DB) == 7
    assert small.databases() == {"postgres", RPG_DB, f"{RPG_DB}__undone", f"{RPG_DB}__undone_2"}


def test_a_connected_target_is_not_replaced(small: World) -> None:
    """Sessions in the target are an obstacle that cannot be agreed to."""
    small.sql(f"create database {RPG_DB}")
    with small.server.connect(RPG_DB):
        refused = small.transfer(*allowing("target_sessions"))
    assert refused.code == 10
    assert refused.obstacles == ["target_sessions"]
    small.moved()


def test_events_are_json_on_stderr(small: World) -> None:
    """Each phase is told when it begins and ends, one event a line."""
    done = answer(small.start())
    assert done.code == 0
    names = [json.loads(line)["event"] for line in done.err.splitlines()]
    names = [name for name in names if name != "transfer.progressed"]  # on a slow machine
    assert names == ["transfer.phase_started", "transfer.phase_finished"] * len(PHASES)


SHARED = """
create type mood as enum ('sad', 'ok'); create table outbox (id int, mood mood);
alter table rpg_items add mood mood default 'ok'; create type rpg_only as enum ('x');
create type item_kind as enum ('x'); alter table rpg_items add kind item_kind
"""

STAYS = ("--allow", "lookalike:outbox")


def test_a_shared_name_is_not_moved_blindly(small: World) -> None:
    """Without a word it is an obstacle; agreed to it stays, and by --with it goes."""
    row = f'["{RPG}"]\ndatabase = "{RPG_DB}"\nprefixes = ["rpg_", "dnd_"]\nnames = ["outbox"]\n'
    (small.operator.directory / "services.toml").write_text(row)
    environ = {"ENTRYPOINT_SERVICES": "services.toml"}
    small.sql(SHARED)
    refused = small.transfer(environ=environ)
    stays = small.transfer("--dry-run", "--json", *STAYS, environ=environ)
    goes = small.transfer("--json", "--with", "outbox", environ=environ)

    assert refused.code == 10
    assert refused.obstacles == ["lookalike:outbox"]
    assert "may belong to another" in refused.failed()["obstacles"][0]["message"]
    assert (stays.code, goes.code) == (0, 0)
    assert small.sql("select from outbox", RPG_DB) == []


def test_a_type_without_a_prefix_goes_along(small: World) -> None:
    """Verify says whose it is by what uses it; the move clears it, and goes for good with it."""
    small.sql(SHARED + "; drop table outbox; drop table sso_users")

    def types() -> dict[str, str]:
        found = small.operator.run("verify", "--json", "--service", RPG).findings
        return {f["object"]: f["remedy"] for f in found if f["kind"] == "type"}

    assert types() == dict.fromkeys(
        ("item_kind", "mood", "rpg_only"), f"Run entrypoint transfer {RPG}."
    )
    small.moved()
    assert types() == {}
    clean = small.operator.run("verify", "--json", "--strict", "--service", RPG)
    assert {f["finding"] for f in clean.findings} == {"quarantine"}
    assert small.transfer("--drop-quarantine").code == 0
    assert small.sql("select from pg_type where typname in ('mood', 'item_kind')") == []
    assert small.sql("select 'ok'::mood, 'x'::item_kind", RPG_DB) == [("ok", "x")]


def test_help_names_what_there_is(capfd: pytest.CaptureFixture[str]) -> None:
    """The obstacle to which an example agrees is called as the plan of this very table calls it."""
    assert main.main(["transfer", "--help"]) == 0
    words = capfd.readouterr().out.split()
    [agreed] = [now for before, now in pairwise(words) if before == "--allow" and ":" in now]
    assert agreed in CROSSING
