"""What a restore would meet is in the plan, before anybody is asked, locked out or kept waiting."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import Any, Final

import psycopg
import pytest

from tests.attacks.test_transfer import SPY, Log, as_mallory
from tests.operator.conftest import create_role
from tests.operator.transfer.conftest import RPG, RPG_DB, World, allowing
from tests.support.program import namespaces, until

COUNTS: Final = """
create function rpg_first() returns int immutable language plpgsql as
  $$begin return (select count(*) from rpg_items); end$$;
create table rpg_parts (a int) partition by list ((a + rpg_first()));
create view rpg_of_parts as select a from rpg_parts;
comment on table rpg_parts is 'with a follower';
alter table rpg_parts enable row level security;
grant select on rpg_parts to public
"""
"""A function that a restore evaluates where it makes the table, and that finds nothing there."""

MISSING: Final = 'ERROR:  relation "rpg_items" does not exist'

ANOTHER: Final = """
create function rpg_second() returns int immutable language plpgsql as
  $$begin raise 'not on a % day', 'rainy' using detail = 'It rains.', hint = 'Wait.'; end$$;
create table rpg_more (a int)
"""

READS: Final = "alter table rpg_more add check (a > 0), add b int"

MADE: Final = "select count(*) from pg_database where datname ~ '__rehearsal_'"


@pytest.fixture
def world(each: World) -> World:
    """Two services in `postgres`."""
    return each


def plan(world: World, *words: str, environ: dict[str, str] | None = None) -> dict[str, Any]:
    """The obstacles of a dry run, by name, which leaves nothing behind."""
    before = world.databases()
    done = world.transfer("--dry-run", "--json", *words, environ=environ)
    assert done.code == 0, done.err
    assert world.left() == []
    assert world.databases() == before
    return {each["name"]: each for each in done.json["obstacles"]}


class Writer:
    """Writes to a table all the time, and would not wait for a lock."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.written = 0
        self.errors: list[psycopg.Error] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        with self.world.server.connect() as connection:
            connection.execute("set lock_timeout = '200ms'")
            while not self.stop.is_set():
                try:
                    connection.execute("insert into rpg_items (name) values ('beside')")
                    self.written += 1
                except psycopg.Error as error:
                    self.errors.append(error)

    def end(self) -> None:
        """Stop writing."""
        self.stop.set()
        self.thread.join()


def rehearsing(world: World, *words: str) -> Any:  # noqa: ANN401  a program
    """A transfer that is in its rehearsal, with the scratch database made."""
    for statement in SLOW.split(";\n", 1):
        world.sql(statement)
    program = world.start(*words)
    until(lambda: world.value(WAITS) > 0, "a restore that waits")
    return program


def go_on(world: World) -> None:
    """Let `rehearsing` come to its end."""
    world.sql("drop database aside")


def test_what_fails_is_in_the_plan_in_the_servers_words(world: World) -> None:
    """The object and the ERROR line are told while a writer goes on, and what only follows not."""
    world.sql(COUNTS)
    writer = Writer(world)
    try:
        found = plan(world)
    finally:
        writer.end()
    mine = [each for name, each in found.items() if name.startswith("rehearsal:")]
    assert [each["name"] for each in mine] == ["rehearsal:table public.rpg_parts"]
    assert MISSING in mine[0]["message"]
    assert "pg_restore" not in mine[0]["message"]
    assert mine[0]["allowable"] is False
    assert writer.errors == []
    assert writer.written > 10


def test_a_move_is_refused_before_anything_is_locked(world: World) -> None:
    """The refusal names it; what the remedy says mends it, and the next run moves."""
    world.sql(COUNTS)
    writer = Writer(world)
    try:
        refused = world.transfer(
            "--allow", "writers", "--allow", "rehearsal:table public.rpg_parts"
        )
    finally:
        writer.end()
    event = refused.failed()
    assert (refused.code, event["event"]) == (10, "transfer.failed")
    assert refused.obstacles == ["rehearsal:table public.rpg_parts"]
    assert MISSING in event["error"]
    assert "Change or drop it in the source" in event["remedy"]
    assert world.value("select count(*) from pg_locks where mode = 'ShareLock'") == 0
    assert writer.errors == []
    assert (world.left(), world.databases()) == ([], {"postgres"})
    world.sql("alter function rpg_first() set search_path = public")
    world.moved()
    assert world.value("select count(*) from rpg_parts", RPG_DB) == 0


def test_all_failures_are_told_at_once(world: World) -> None:
    """Two independent errors, with DETAIL and HINT; one that two objects share is told once."""
    world.sql(f"{COUNTS}; {ANOTHER}")
    world.sql(
        "create table rpg_parts_2 (a int) partition by list ((a + rpg_first()));"
        "create function rpg_third() returns int immutable language plpgsql as"
        " $$begin return case when current_setting('search_path') = '' then rpg_second()"
        " else 1 end; end$$"
    )
    world.sql(
        "alter function rpg_second() rename to rpg_ready; "
        "create function rpg_late() returns int immutable language plpgsql as $$begin"
        " if current_setting('search_path') in ('', '\"\"') then return public.rpg_ready(); end if;"
        " return 1; end$$; create table rpg_days (a int) partition by list ((a + rpg_late()))"
    )
    found = {name: each for name, each in plan(world).items() if name.startswith("rehearsal:")}
    assert sorted(found) == ["rehearsal:table public.rpg_days", "rehearsal:table public.rpg_parts"]
    shared = found["rehearsal:table public.rpg_parts"]["message"]
    assert MISSING in shared
    assert "the same holds for table public.rpg_parts_2" in shared
    rainy = found["rehearsal:table public.rpg_days"]["message"]
    for words in ("ERROR:  not on a rainy day", "DETAIL:  It rains.", "HINT:  Wait."):
        assert words in rainy


CROSSING: Final = {
    "policy": (
        "create policy rpg_p on rpg_items using (exists (select from sso_users))",
        "drop policy rpg_p on rpg_items",
    ),
    "row type": (
        "alter table rpg_items add crossing sso_users",
        "alter table rpg_items drop crossing",
    ),
    "default": (
        (
            "create function sso_code() returns int language sql as"
            " 'select max(id) from public.sso_users';"
            " create function sso_of(sso_users) returns int language sql as 'select 1';"
            " alter table rpg_items add code int default sso_of(null)"
        ),
        "alter table rpg_items drop code",
    ),
}
"""T3 and T4: what needs something that stays, and what mends it."""


@pytest.mark.parametrize("kind", list(CROSSING))
def test_what_needs_something_that_stays_is_in_the_plan(world: World, kind: str) -> None:
    """It was found when everybody was locked out; now the dry run names it, and mended it moves."""
    make, mend = CROSSING[kind]
    world.sql(make)
    found = plan(world)
    assert len(found) == 1
    refused = world.transfer()
    assert refused.code == 10
    assert set(refused.obstacles) == set(found)
    assert (world.left(), world.databases()) == ([], {"postgres"})
    agreed = [word for name in found for word in ("--allow", name)]
    done = world.transfer(*agreed)
    if all(each["allowable"] for each in found.values()):
        assert done.code == 0, done.err
        return
    assert done.code == 10
    assert "lock" not in [e.get("phase") for e in done.events]
    world.sql(mend)
    world.moved()


OTHERWISE: Final = {
    "columns": (
        (
            "create table rpg_p (id int primary key, name text);"
            "create table rpg_c (more int) inherits (rpg_p);"
            "alter table rpg_p add column late int; insert into rpg_c values (1, 'x', 2, 3)"
        ),
        "facts:rpg_c",
        "id, name, late, more instead of id, name, more, late",
        "Recreate more of rpg_c",
        (
            "alter table rpg_c rename more to less; alter table rpg_c add more int;"
            "update rpg_c set more = less; alter table rpg_c drop less"
        ),
    ),
    "columns of two parents": (
        (
            "create table rpg_p (id int, name text); create table rpg_q (name text, id int);"
            "create table rpg_c (name text, id int, own int);"
            "alter table rpg_c inherit rpg_p; alter table rpg_c inherit rpg_q"
        ),
        "facts:rpg_c",
        "id, name, own instead of name, id, own",
        "Recreate name, own of rpg_c",
        (
            "alter table rpg_c no inherit rpg_p; alter table rpg_c no inherit rpg_q;"
            "alter table rpg_c rename name to a; alter table rpg_c rename own to b;"
            "alter table rpg_c add name text; alter table rpg_c add own int;"
            "update rpg_c set (name, own) = (a, b); alter table rpg_c drop a, drop b;"
            "alter table rpg_c inherit rpg_p; alter table rpg_c inherit rpg_q"
        ),
    ),
    "constraints that are off": (
        "alter table dnd_rolls disable trigger all",
        "facts:dnd_rolls",
        "RI_FKey_check_ins",
        "Run ALTER TABLE dnd_rolls ENABLE TRIGGER ALL",
        "alter table dnd_rolls enable trigger all",
    ),
}
"""What a restore makes otherwise without failing: how it is told, and what mends it."""


@pytest.mark.parametrize("kind", list(OTHERWISE))
def test_what_a_restore_makes_otherwise_is_in_the_plan(world: World, kind: str) -> None:
    """It was found when everybody was locked out; now it is refused before, and mended it moves."""
    make, name, said, remedy, mend = OTHERWISE[kind]
    world.sql(make)
    mine = {each: words for each, words in plan(world).items() if each.startswith("facts:")}
    assert name in mine
    assert mine[name]["allowable"] is False
    assert said in mine[name]["message"]
    assert mine[name]["remedy"].startswith(remedy)
    refused = world.transfer("--allow", "all")
    assert (refused.code, refused.failed()["event"]) == (10, "transfer.failed")
    assert name in refused.obstacles
    assert "lock" not in [e.get("phase") for e in refused.events]
    assert (world.left(), world.databases()) == ([], {"postgres"})
    world.sql(mend)
    assert plan(world) == {}
    world.moved()


def test_what_only_follows_from_a_failure_is_not_told_as_facts(world: World) -> None:
    """Where something cannot be restored, what it lacks afterwards is no second obstacle."""
    world.sql(COUNTS)
    world.sql("alter table dnd_rolls disable trigger all")
    assert list(plan(world)) == ["rehearsal:table public.rpg_parts"]
    world.sql("alter function rpg_first() set search_path = public")
    assert {name.partition(":")[0] for name in plan(world)} == {"facts"}


def test_the_plain_role_rehearses_as_itself(world: World) -> None:
    """Without a superuser all is the role's own, also what it may not do in the end."""
    url = create_role(world.server, "rpg_owner", "createdb")
    world.sql("create role somebody; grant create on database postgres to rpg_owner")
    world.sql("alter table rpg_items owner to rpg_owner; alter table dnd_rolls owner to rpg_owner")
    row = f'["{RPG}"]\ndatabase = "{RPG_DB}"\nprefixes = ["rpg_", "dnd_"]\nowner = "somebody"\n'
    (world.operator.directory / "services.toml").write_text(row)
    environ = {"DATABASE_URL": url}
    found = plan(world, environ={**environ, "ENTRYPOINT_SERVICES": "services.toml"})
    assert list(found) == ["rehearsal:database"]
    assert '"somebody"' in found["rehearsal:database"]["message"]
    assert plan(world, environ=environ) == {}
    world.sql("grant usage, create on schema public to rpg_owner; set role rpg_owner;" + COUNTS)
    assert MISSING in plan(world, environ=environ)["rehearsal:table public.rpg_parts"]["message"]
    world.sql("alter function rpg_first() set search_path = public")
    done = world.transfer(environ=environ)
    assert done.code == 0, done.err


def test_nothing_is_evaluated_by_a_superuser(world: World) -> None:
    """What a rehearsal evaluates, it evaluates as a role that may do nothing else."""
    world.sql(SPY)
    as_mallory(world, "create table rpg_const (a int); insert into rpg_const values (1)")
    as_mallory(world, "create table rpg_p (a int) partition by list ((a + mallory.spy('p')))")
    as_mallory(world, "create table rpg_p_1 partition of rpg_p for values in (1)")
    as_mallory(world, "create index on rpg_const (a) where mallory.spy('predicate') = 1")
    log = Log(world)
    assert plan(world) == {}
    assert log.check() >= {"p", "predicate"}


def test_what_content_makes_belongs_to_nobody_and_is_told(world: World) -> None:
    """A function that the restored schema makes as it is restored is an obstacle, and is gone."""
    world.sql(SPY)
    as_mallory(
        world,
        "create function make() returns int language plpgsql as $$begin"
        " if session_user like 'entrypoint_transfer_%' then"
        " execute 'create sequence mallory.rpg_new'; end if; return 1; end$$;"
        "create function carry() returns int immutable language plpgsql as"
        " $$begin perform mallory.make(); return 1; end$$;"
        "create table rpg_p (a int) partition by list ((a + mallory.carry()))",
    )
    log = Log(world)
    found = plan(world)
    assert "created 1 object " in found["rehearsal:owners"]["message"]
    assert "mallory.rpg_new" in found["rehearsal:owners"]["message"]
    assert "the functions that the service's tables call" in found["rehearsal:owners"]["remedy"]
    log.check()
    as_mallory(
        world,
        "create or replace function make() returns int language sql as 'select 1'",
    )
    assert plan(world) == {}


LEAKS: Final = "create function rpg_leak(int) returns int leakproof language sql as 'select 1'"


@pytest.mark.parametrize(
    "mend",
    ["drop function rpg_leak", "alter extension plpgsql add function rpg_leak(int)"],
    ids=["drop", "extension"],
)
def test_what_only_a_superuser_may_make_is_mended_in_two_ways(world: World, mend: str) -> None:
    """Dropped, or made part of an extension, such a function is in nobody's way."""
    world.sql(LEAKS)
    found = plan(world)
    assert list(found) == ["superuser:public.rpg_leak(integer)"]
    assert found.popitem()[1]["remedy"].startswith("Drop it, or make it part of an extension")
    world.sql(mend)
    assert plan(world) == {}
    world.moved()


def test_a_table_is_taken_out_of_a_publication(world: World) -> None:
    """The statement that the plan gives mends it, and goes on publishing what is another's."""
    world.sql(
        'create table "rpg_ ; x" (id int); create publication every for all tables;'
        ' create publication "a pub" for table rpg_items, sso_users, "rpg_ ; x"'
    )
    found = plan(world)
    assert sorted(found) == ['publication:"a pub"', "publication:every"]
    assert found["publication:every"]["remedy"].startswith("Agree: its subscribers get no more")
    remedy = found['publication:"a pub"']["remedy"]
    statement, _, _ = remedy.removeprefix("Run ").partition(", or agree")
    world.sql(statement)
    assert list(plan(world)) == ["publication:every"]
    published = "select tablename from pg_publication_tables where pubname = 'a pub'"
    assert world.sql(published) == [("sso_users",)]


SLOW: Final = """
create database aside;
create function rpg_loop() returns int language plpgsql as $$begin
  while current_database() ~ '__rehearsal_' and exists (
    select from pg_catalog.pg_database where datname = 'aside')
  loop perform pg_catalog.pg_sleep(0.01); end loop; return 1; end$$;
create function rpg_wait() returns int immutable language plpgsql as
  $$begin perform public.rpg_loop(); return 1; end$$;
create table rpg_slow (a int) partition by list ((a + rpg_wait()))
"""
"""A schema whose restore into a scratch database goes on as long as a database is there."""

WAITS: Final = """
select count(*) from pg_stat_activity
where datname ~ '__rehearsal_' and state = 'active' and query ~ 'rpg_slow'
"""


def test_sigterm_removes_the_scratch_database(world: World) -> None:
    """Ended in the middle of the rehearsal it leaves nothing, and the source as it was."""
    program = rehearsing(world, "--dry-run")
    program.signal(signal.SIGTERM)
    assert program.wait() == 143
    until(lambda: not world.left(), f"nothing left: {world.left()}")
    go_on(world)
    world.moved()


@pytest.mark.parametrize("words", [("--dry-run",), ()], ids=["dry", "move"])
def test_a_killed_rehearsal_is_removed_by_the_next_run(
    world: World, words: tuple[str, ...]
) -> None:
    """SIGKILL leaves a scratch database and roles; the next run, dry or not, removes both."""
    program = rehearsing(world, "--dry-run")
    program.signal(signal.SIGKILL)
    program.wait()
    ours = "select from pg_stat_activity where application_name = 'entrypoint/operator'"
    until(lambda: not world.sql(ours), "its sessions end")
    assert world.value(MADE) == 1
    go_on(world)
    done = world.transfer(*words)
    assert done.code == 0, done.err
    assert world.left() == []
    assert world.value(MADE) == 0


def test_a_rehearsal_that_lives_is_left_alone(world: World) -> None:
    """A dry run from another database beside it disturbs neither it nor its scratch database."""
    world.sql("create database elsewhere")
    world.sql("create table rpg_others (id int)", "elsewhere")
    first = rehearsing(world, "--dry-run", "--json")
    names = world.sql("select datname from pg_database where datname ~ '__rehearsal_'")
    second = world.transfer("--dry-run", "--from", "elsewhere")
    assert second.code == 0, second.err
    assert world.sql("select datname from pg_database where datname ~ '__rehearsal_'") == names
    go_on(world)
    assert first.wait() == 0, first.output
    assert world.left() == []


def test_dry_runs_beside_each_other_and_a_move(world: World) -> None:
    """Several at once all succeed, and keep nobody from moving."""
    programs = [world.start("--dry-run", "--json") for _ in range(3)]
    codes = [program.wait() for program in programs]
    assert codes == [0, 0, 0], [program.output for program in programs]
    dry = rehearsing(world, "--dry-run")
    dry.signal(signal.SIGSTOP)
    go_on(world)
    try:
        world.moved()
    finally:
        dry.signal(signal.SIGCONT)
    dry.wait()
    until(lambda: not world.left(), f"nothing left: {world.left()}")


def test_a_table_that_is_being_altered_is_named(world: World) -> None:
    """An open ALTER TABLE keeps a dry run for about a second, and then it says whose it is."""
    world.sql("create table rpg_parts (a int) partition by list (a)")
    with world.server.connect() as connection:
        connection.execute("set application_name = 'migrator'")
        connection.execute("begin; alter table rpg_parts add later int")
        done = world.transfer("--dry-run", "--json")
        assert done.code == 0, done.err
        [locked] = [e for e in done.json["obstacles"] if e["name"].startswith("locked:")]
        assert "rpg_parts" in locked["name"]
        assert "migrator" in locked["message"]
        assert str(connection.info.backend_pid) in locked["message"]
        connection.execute("rollback")
    assert world.left() == []
    assert plan(world) == {}


SMALL_DISK: Final = 'mount -t tmpfs -o size=1m none "$TMPDIR" && exec "$0" "$@"'


def test_a_folder_that_is_too_small_is_named_before(world: World) -> None:
    """The plan names folder and TMPDIR, and with another folder it moves."""
    world.sql("insert into rpg_items (name) select repeat(md5(i::text), 9) from"
              " generate_series(1, 5000) i")  # fmt: skip
    program = world.start(through=[*namespaces("--mount"), "sh", "-c", SMALL_DISK])
    assert program.wait() == 10, program.output
    event = program.events[-1]
    assert [each["name"] for each in event["obstacles"]] == ["space"]
    assert str(world.temp) in event["error"]
    assert "TMPDIR" in event["obstacles"][0]["remedy"]
    assert world.databases() == {"postgres"}
    assert os.statvfs(world.temp).f_bavail > 1000
    world.moved()


_HASTY: Final = """
from entrypoint import __main__
from entrypoint.process import child
child.SILENT_S = 3
__main__.main()
"""

HASTY: Final = ("-c", _HASTY)
"""The program itself, for which 3 s without a word are what 60 s are for everybody."""

SPIN: Final = """
create function rpg_spin() returns int language plpgsql immutable as $$begin
  if {} then loop begin loop null; end loop;
  exception when query_canceled then null; end; end loop; end if; return 1; end$$
"""
"""A function that never ends where a condition holds, not even when it is cancelled."""

SPINNING: Final = """
select count(*) from pg_stat_activity
where state = 'active' and query ~ 'z_i' and pid <> pg_backend_pid()
"""


def owned(world: World) -> dict[str, str]:
    """Give the tables to a plain role; the environment of its transfer."""
    url = create_role(world.server, "rpg_owner", "createdb")
    world.sql("grant create on database postgres to rpg_owner")
    world.sql("grant usage, create on schema public to rpg_owner")
    world.sql("alter table rpg_items owner to rpg_owner; alter table dnd_rolls owner to rpg_owner")
    return {"DATABASE_URL": url}


@pytest.mark.parametrize("plain", [False, True], ids=["superuser", "owner"])
def test_what_never_ends_in_a_rehearsal_is_named(world: World, *, plain: bool) -> None:
    """An index that is built for ever is an obstacle, and its session ends; mended it moves."""
    environ = owned(world) if plain else {}
    if plain:
        world.sql("set role rpg_owner;" + SPIN.format("current_database() ~ 'rehearsal'"))
        world.sql("set role rpg_owner; create table rpg_z (i int)")
    else:
        world.sql(SPIN.format("current_database() ~ 'rehearsal'") + "; create table rpg_z (i int)")
    world.sql("create index z_i on rpg_z ((i + rpg_spin()))")
    program = world.start(launcher=HASTY, environ=environ)
    assert program.wait(60) == 10, program.output
    event = program.events[-1]
    assert event["event"] == "transfer.failed"
    [found] = event["obstacles"]
    assert found["name"] == "rehearsal:index public.z_i"
    assert "has not finished it after 3 s" in found["message"]
    assert found["remedy"].startswith("Change or drop it in the source")
    assert found["allowable"] is False
    assert "lock" not in [each.get("phase") for each in program.events]
    assert (world.left(), world.databases()) == ([], {"postgres"})
    assert world.value(SPINNING) == 0
    world.sql("drop index z_i")
    done = world.transfer(environ=environ)
    assert done.code == 0, done.err


@pytest.mark.parametrize("plain", [False, True], ids=["superuser", "owner"])
def test_what_never_ends_for_one_row_is_named(world: World, *, plain: bool) -> None:
    """A check that is evaluated for ever is an obstacle, and its session ends; mended it moves."""
    environ = owned(world) if plain else {}
    world.sql(SPIN.format("current_setting('search_path') !~ 'public'"))
    world.sql("create table rpg_z (i int check (i < rpg_spin() + 5)); insert into rpg_z values (1)")
    if plain:
        world.sql("alter table rpg_z owner to rpg_owner")
        world.sql("alter function rpg_spin owner to rpg_owner")
    program = world.start("--dry-run", "--json", launcher=HASTY, environ=environ)
    assert program.wait(60) == 0, program.output
    [found] = [e for e in json.loads(program.stdout)["obstacles"] if e["name"].startswith("body:")]
    assert found["name"] == "body:rpg_z.rpg_z_i_check"
    assert "more than 3 s for one row" in found["message"]
    assert (world.left(), world.databases()) == ([], {"postgres"})
    assert world.value(SPINNING.replace("z_i", "rpg_spin")) == 0
    world.sql("alter function rpg_spin() set search_path = public")
    done = world.transfer(*allowing("writers"), environ=environ)
    assert done.code == 0, done.err


@pytest.mark.parametrize("plain", [False, True], ids=["superuser", "owner"])
def test_a_signal_ends_what_is_evaluated_in_a_plan(world: World, *, plain: bool) -> None:
    """While a check is tried the answer is the signal's, and nothing goes on on the server."""
    environ = owned(world) if plain else {}
    world.sql(SPIN.format("current_setting('search_path') !~ 'public'"))
    world.sql("create table z_i (i int check (i < rpg_spin() + 5)); insert into z_i values (1)")
    if plain:
        world.sql("alter table z_i owner to rpg_owner")
        world.sql("alter function rpg_spin owner to rpg_owner")
    program = world.start("--with", "z_i", "--dry-run", environ=environ)
    until(lambda: world.value(SPINNING), "an evaluation")
    program.process.send_signal(signal.SIGTERM)
    assert program.wait(20) == 128 + signal.SIGTERM, program.output
    assert (world.left(), world.value(SPINNING)) == ([], 0)


def test_what_a_move_is_at_is_told(world: World) -> None:
    """While an index is built an event names it again and again, and a signal ends it all."""
    world.sql(SPIN.format("current_database() ~ '__incoming'") + "; create table rpg_z (i int)")
    world.sql("create index z_i on rpg_z ((i + rpg_spin()))")
    program = world.start()
    program.until("transfer.phase_started", phase="restore")
    until(
        lambda: "z_i" in (program.all("transfer.progressed") or [{}])[-1].get("doing", ""),
        "an event that names the index",
    )
    program.signal(signal.SIGTERM)
    assert program.wait() == 143
    assert "nothing was moved" in program.events[-1]["error"]
    until(lambda: not world.left(), f"nothing left: {world.left()}")
    assert world.databases() == {"postgres"}
    assert world.value(SPINNING) == 0
