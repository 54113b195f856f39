"""Removing what moves and undos have put aside: what goes, what never does, and what is said."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.operator.conftest import create_role
from tests.operator.transfer.conftest import RPG, RPG_DB, World, lent
from tests.operator.transfer.test_next import shell
from tests.operator.transfer.test_undo import asked
from tests.support import versions
from tests.support.program import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Server

UNDONE, REPLACED = f"{RPG_DB}__undone", f"{RPG_DB}__replaced"

LEDGER = "ours, by hand\nentrypoint:{}"
"""A comment as people and a start leave it."""


@pytest.fixture(scope="module", params=versions.ENDS)
def host(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server for the tests of this file."""
    with versions.started(request.param) as server:
        yield server


@pytest.fixture
def put(host: Server, tmp_path: Path) -> Iterator[World]:
    """The two services' small tables on it, and one target put aside by an undo."""
    for world in lent(host, tmp_path):
        world.moved()
        world.sql("insert into rpg_items (name) values ('new')", RPG_DB)
        assert world.transfer("--undo").code == 0
        yield world


def comment(world: World, database: str) -> str:
    """A database's."""
    query = "select coalesce(shobj_description(oid, 'pg_database'), '') from pg_database where"
    return str(world.value(f"{query} datname = '{database}'"))


def test_it_goes_after_asking(put: World) -> None:
    """The question has a table of what goes, a no keeps it, a yes removes it and nothing else."""
    code, text = asked(put, "--drop-aside")
    assert code == 10
    assert UNDONE in text
    assert "postgres" in text
    assert "601" in text
    assert "Remove this database with all content for ever? [yes/no]" in text
    assert "the operator did not agree; nothing was changed" in text
    refused = put.operator.run("transfer", RPG, "--drop-aside", environ=put.environ())
    assert refused.code == 10
    assert "the operator did not agree" in refused.failed()["error"]
    assert put.databases() == {"postgres", UNDONE}

    before = put.dump("postgres")
    plan = put.transfer("--drop-aside", "--dry-run", "--json")
    assert (plan.code, plan.json["result"]) == (0, "planned")
    [found] = plan.json["put_aside"]
    assert (found["database"], found["owner"]) == (UNDONE, "postgres")
    assert (found["tables"], found["rows"]) == (2, 601)
    assert found["size_bytes"] == put.value(f"select pg_database_size('{UNDONE}')")
    assert put.databases() == {"postgres", UNDONE}

    done = put.transfer("--drop-aside", "--json")
    assert done.code == 0, done.err
    assert (done.json["result"], done.json["put_aside"]) == ("dropped", [found])
    assert put.databases() == {"postgres"}
    assert put.dump("postgres") == before
    assert put.left() == []
    again = put.transfer("--drop-aside", "--json")
    assert (again.code, again.json["result"]) == (0, "nothing to drop")


def test_the_lines_of_status_verify_and_undo_remove_it(put: World) -> None:
    """Each names the command as it is to be pasted, and after it nothing is told any more."""
    [found] = put.operator.run("status", "--json", "--service", RPG).rows
    assert found["put_aside"] == [UNDONE]
    line = f"entrypoint transfer {RPG} --drop-aside"
    assert line in put.operator.run("status", "--service", RPG).out
    findings = put.operator.run("verify", "--json").findings
    [remedy] = [each["remedy"] for each in findings if each["database"] == UNDONE]
    assert line in remedy
    done = shell(put, line)
    assert done.returncode == 0, done.stderr
    assert f"{RPG}: dropped" in done.stdout
    assert put.databases() == {"postgres"}
    assert "transfer_database" not in put.operator.run("verify", "--json").kinds()
    put.moved()
    *_, last = put.transfer("--undo", "--json").json["next"]
    assert last == line
    assert shell(put, last).returncode == 0
    assert put.databases() == {"postgres"}


def test_a_replaced_database_goes_and_is_said_to_be_an_undo_s(put: World) -> None:
    """A dry run says that an undo would bring it back; without it an undo says that it is gone."""
    put.sql(f"create database {RPG_DB}")
    put.sql("create table rpg_items (id int); insert into rpg_items values (7)", RPG_DB)
    put.sql(f"comment on database {RPG_DB} is $${LEDGER}$$")
    moved = put.moved("--allow", "target")
    assert moved["next"][-1] == f"entrypoint transfer {RPG} --drop-aside"
    assert comment(put, REPLACED).endswith(LEDGER)
    put.sql(f"drop database {UNDONE}")
    plan = put.transfer("--drop-aside", "--dry-run", "--json").json
    [note] = plan["notes"]
    assert note.startswith("--undo of the move at 20")
    assert repr(REPLACED) in note
    dropped = put.transfer("--drop-aside", "--json")
    assert [each["database"] for each in dropped.json["put_aside"]] == [REPLACED]
    undone = put.transfer("--undo", "--json")
    assert undone.code == 0, undone.err
    assert any("or is gone since" in each for each in undone.json["notes"])
    assert put.databases() == {"postgres", UNDONE}


def test_a_replaced_database_comes_back_without_a_mark(put: World) -> None:
    """An undo gives it its comment back as it was, with the ledger, and marks the target."""
    put.sql(f"create database {RPG_DB}")
    put.sql("create table rpg_items (id int); insert into rpg_items values (7)", RPG_DB)
    put.sql(f"comment on database {RPG_DB} is $${LEDGER}$$")
    put.moved("--allow", "target")
    assert put.transfer("--undo").code == 0
    assert comment(put, RPG_DB) == LEDGER
    assert comment(put, f"{UNDONE}_2").startswith("entrypoint put aside: ")
    done = put.transfer("--drop-aside", "--json")
    assert done.code == 0, done.err
    assert put.databases() == {"postgres", RPG_DB}


@pytest.mark.parametrize("how", ["made", "renamed", "forged", "other"])
def test_what_has_no_mark_stays(put: World, how: str) -> None:
    """A name of ours is no evidence: exit 10, with the statement that removes it by hand."""
    name = f"{UNDONE}_7"
    if how == "renamed":
        put.sql(f"alter database {UNDONE} rename to {name}")
    else:
        assert put.transfer("--drop-aside").code == 0
        put.sql(f"create database {name}")
    if how == "forged":
        put.sql(f"comment on database {name} is 'entrypoint put aside: {{'")
    if how == "other":
        note = json.dumps({"database": "gaqno_sso_db", "name": name, "at": "2026-01-02T03:04:05Z"})
        put.sql(f"comment on database {name} is 'entrypoint put aside: {note}'")
    refused = put.transfer("--drop-aside")
    assert refused.code == 10
    event = refused.failed()
    assert (event["event"], event["exit_code"]) == ("transfer.failed", 10)
    statement = f'DROP DATABASE "{name}"'
    assert statement in event["error"]
    assert name in put.databases()
    [remedy] = [
        each["remedy"]
        for each in put.operator.run("verify", "--json").findings
        if each["database"] == name
    ]
    assert statement in remedy
    put.sql(statement)
    assert put.transfer("--drop-aside").code == 0


def test_a_mark_beside_one_without(put: World) -> None:
    """What is marked goes, and of the other it is said why it stays."""
    put.sql(f"create database {REPLACED}")
    done = put.transfer("--drop-aside", "--json")
    assert done.code == 0, done.err
    assert [each["database"] for each in done.json["put_aside"]] == [UNDONE]
    assert any(f'DROP DATABASE "{REPLACED}"' in each for each in done.json["notes"])
    assert put.databases() == {"postgres", REPLACED}


def test_a_service_s_own_database_is_never_put_aside(put: World) -> None:
    """One that the registry gives to a service stays, marked or not, and nobody names it so."""
    row = '["{}"]\ndatabase = "{}"\nprefixes = ["{}"]\n'
    text = row.format(RPG, RPG_DB, "rpg_") + row.format("undone", UNDONE, "un_")
    (put.operator.directory / "services.toml").write_text(text)
    environ = {"ENTRYPOINT_SERVICES": "services.toml"}
    done = put.transfer("--drop-aside", "--json", environ=environ)
    assert (done.code, done.json["result"]) == (0, "nothing to drop")
    assert UNDONE in put.databases()
    found = put.operator.run("status", "--json", environ=environ).rows
    assert [each["put_aside"] for each in found] == [[], []]


def test_no_spelling_reaches_the_database_in_use(put: World) -> None:
    """Production's own, renamed from one with a mark, is a database like any other."""
    put.sql(f"alter database {UNDONE} rename to {RPG_DB}")
    done = put.transfer("--drop-aside", "--json")
    assert (done.code, done.json["result"]) == (0, "nothing to drop")
    assert put.value("select count(*) from rpg_items", RPG_DB) == 501


def test_who_is_connected_keeps_it(put: World) -> None:
    """Nothing is removed, and the session is named and lives; when it has left, all goes."""
    put.moved()
    assert put.transfer("--undo").code == 0
    with psycopg.connect(put.server.url(f"{UNDONE}_2"), application_name="a dump") as connection:
        refused = put.transfer("--drop-aside")
        assert refused.code == 10
        assert "connected to it: a dump (role postgres, from 127.0.0.1)" in refused.err
        assert "nothing was removed" in refused.failed()["error"]
        assert connection.execute("select 1").fetchone() == (1,)
    assert put.databases() == {"postgres", UNDONE, f"{UNDONE}_2"}
    assert put.transfer("--drop-aside").code == 0
    assert put.databases() == {"postgres"}


def test_a_template_keeps_it(put: World) -> None:
    """No other is removed either; the line of the remedy lets them go."""
    put.moved()
    assert put.transfer("--undo").code == 0
    put.sql(f"alter database {UNDONE}_2 is_template true")
    refused = put.transfer("--drop-aside")
    assert refused.code == 10
    assert put.databases() == {"postgres", UNDONE}
    put.sql(refused.failed()["remedy"].removeprefix("Run ").partition(", and try again")[0])
    assert put.transfer("--drop-aside").code == 0
    assert put.databases() == {"postgres"}


def test_a_subscription_keeps_it(put: World) -> None:
    """The statement that the remedy names takes it away, and then the database goes."""
    put.sql(
        "create subscription s connection 'dbname=nowhere' publication p"
        " with (connect = false, slot_name = none)",
        UNDONE,
    )
    refused = put.transfer("--drop-aside")
    assert refused.code == 10
    remedy = refused.failed()["remedy"]
    assert remedy == 'Run DROP SUBSCRIPTION "s" in it, and run the command again.'
    put.sql('DROP SUBSCRIPTION "s"', UNDONE)
    assert put.transfer("--drop-aside").code == 0


@pytest.mark.parametrize("owner", [True, False], ids=["owner", "stranger"])
def test_the_least_role(put: World, *, owner: bool) -> None:
    """The database's owner is enough, without CREATEDB; another role is refused, with the owner."""
    url = create_role(put.server, "least")
    put.sql("grant connect on database postgres to least")
    put.sql(f"alter database {UNDONE} owner to {'least' if owner else 'postgres'}")
    try:
        done = put.transfer("--drop-aside", "--json", environ={"DATABASE_URL": url})
        if owner:
            assert done.code == 0, done.err
            [found] = done.json["put_aside"]
            assert (found["owner"], found["rows"]) == ("least", None)
            assert put.databases() == {"postgres"}
        else:
            assert done.code == 10
            assert "'least' does not own" in done.failed()["error"]
            assert UNDONE in put.databases()
            assert put.transfer("--drop-aside").code == 0
    finally:
        put.sql("revoke connect on database postgres from least")
        put.sql("drop role least")


def test_a_role_that_may_connect_nowhere_else(put: World) -> None:
    """No session removes its own database: the remedy's statement lets the role in elsewhere."""
    create_role(put.server, "least")
    put.sql("revoke connect on database postgres from public")
    put.sql(f"alter database {UNDONE} owner to least")
    environ = {"DATABASE_URL": put.server.url(UNDONE, "least", "its-password")}
    try:
        refused = put.transfer("--drop-aside", environ=environ)
        assert refused.code == 10
        statement, _, _ = refused.failed()["remedy"].removeprefix("Run ").partition(", and")
        put.sql(statement)
        assert put.transfer("--drop-aside", environ=environ).code == 0
        assert put.databases() == {"postgres"}
    finally:
        put.sql("grant connect on database postgres to public")
        put.sql("revoke connect on database postgres from least")
        put.sql("drop role least")


LOCK = f"comment on database {UNDONE} is null"
"""Keeps the database from being dropped until the transaction ends."""

DROPS = "select pid from pg_stat_activity where query ilike 'drop database%' and state = 'active'"
LOOKS = """
select from pg_stat_activity where query like '%AccessExclusiveLock%' and state = 'idle'
  and application_name = 'entrypoint/operator'
"""
"""That it has looked whether somebody renames a database."""

WAITS = f"{DROPS} and wait_event_type = 'Lock'"


@pytest.mark.parametrize("event", ["SIGTERM", "SIGKILL", "lost"])
def test_ended_in_between(put: World, event: str) -> None:
    """What is said of each database is true, and the next run removes what is left."""
    with put.server.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute(LOCK.encode())
        program = put.start("--drop-aside", "--json")
        until(lambda: put.sql(WAITS), "it waits for the lock")
        if event == "lost":
            put.sql(f"select pg_terminate_backend({put.value(WAITS)})")
            assert program.wait() == 4, program.output
        else:
            program.signal(signal.Signals[event])
            code = program.wait()
            assert code == (143 if event == "SIGTERM" else -9), program.output
    if event in ("SIGTERM", "lost"):
        failed = program.one("transfer.failed")
        assert "nothing was removed" in failed["error"]
        assert "--drop-aside: it removes the rest" in failed["remedy"]
        assert UNDONE in put.databases()
        assert json.loads(program.stdout)["failed"]["error"] == failed["error"]
    if event == "SIGKILL":
        until(lambda: not put.sql(DROPS), "what it had begun is done")
    again = put.transfer("--drop-aside", "--json")
    assert again.code == 0, again.err
    assert again.json["result"] == ("nothing to drop" if event == "SIGKILL" else "dropped")
    assert put.databases() == {"postgres"}
    assert put.left() == []


def test_ended_after_the_first_of_two(put: World) -> None:
    """SIGTERM, or who has the second one locked: what went is named, and the next run goes on."""
    for event in ("SIGTERM", "locked"):
        put.moved()
        assert put.transfer("--undo").code == 0
        with put.server.connect() as connection, connection.transaction(force_rollback=True):
            connection.execute(f"comment on database {UNDONE}_2 is null".encode())
            program = put.start("--drop-aside", "--json")
            until(lambda: put.sql(WAITS), "it waits for the second")
            if event == "SIGTERM":
                program.signal(signal.SIGTERM)
            assert program.wait() == (143 if event == "SIGTERM" else 10), program.output
        failed = program.one("transfer.failed")
        assert f"this run removed '{UNDONE}'" in failed["error"]
        assert put.databases() == {"postgres", f"{UNDONE}_2"}
    assert put.transfer("--drop-aside").code == 0
    assert put.databases() == {"postgres"}


def test_who_holds_its_lock_is_named(put: World) -> None:
    """It waits ten seconds and says who is in the way, and everything is as it was."""
    with psycopg.connect(put.server.url(), application_name="a change") as connection:
        connection.execute(LOCK.encode())
        refused = put.transfer("--drop-aside")
        assert refused.code == 10, refused.err
        assert "nothing was removed" in refused.failed()["error"]
        assert "a change" in refused.failed()["error"]
        connection.rollback()
    assert UNDONE in put.databases()
    assert put.transfer("--drop-aside").code == 0


def test_removed_by_hand_meanwhile(put: World) -> None:
    """Gone between the question and the answer is what was wanted, and is said."""
    put.moved()
    assert put.transfer("--undo").code == 0
    with put.server.connect() as connection:
        with connection.transaction():
            connection.execute(f"alter database {UNDONE} rename to elsewhere".encode())
            program = put.start("--drop-aside", "--json")
            until(lambda: put.sql(LOOKS), "it waits for the rename")
            put.sql(f"drop database {UNDONE}_2")
        assert program.wait() == 0, program.output
    answer = json.loads(program.stdout)
    for name in (UNDONE, f"{UNDONE}_2"):
        gone = f"{name!r} was gone already: another session removed or renamed it"
        assert gone in answer["notes"]
    assert answer["put_aside"] == []
    assert put.databases() == {"postgres", "elsewhere"}


def test_what_gets_its_name_meanwhile_stays(put: World) -> None:
    """Production's own database, renamed in its place while it waits to remove, is not removed."""
    put.sql(f"create database {RPG_DB}")
    with put.server.connect() as connection:
        with connection.transaction():
            connection.execute(f"alter database {UNDONE} rename to elsewhere".encode())
            connection.execute(f"alter database {RPG_DB} rename to {UNDONE}".encode())
            program = put.start("--drop-aside", "--json")
            until(lambda: put.sql(LOOKS), "it waits for the rename")
        assert program.wait() == 0, program.output
        assert json.loads(program.stdout)["put_aside"] == []
        assert put.databases() == {"postgres", "elsewhere", UNDONE}


def test_who_renames_it_is_named(put: World) -> None:
    """It waits ten seconds, and with what the remedy runs the same removes it."""
    with suppress(psycopg.OperationalError), put.server.connect() as connection:
        connection.execute("begin")
        connection.execute(f"alter database {UNDONE} rename to elsewhere".encode())
        refused = put.transfer("--drop-aside")
        assert refused.code == 10, refused.err
        failed = refused.failed()
        assert f"pid {connection.info.backend_pid} is renaming" in failed["error"]
        assert failed["error"].endswith("; nothing was removed")
        _, _, statement = failed["remedy"].partition("run ")
        put.sql(statement.partition(", and")[0])
    assert put.transfer("--drop-aside").code == 0
    assert put.databases() == {"postgres"}


def test_two_at_once_one_is_refused(put: World) -> None:
    """The second one says who removes, and the first one is not disturbed; a dry run looks on."""
    with put.server.connect() as connection:
        with connection.transaction(force_rollback=True):
            connection.execute(LOCK.encode())
            program = put.start("--drop-aside")
            until(lambda: put.sql(WAITS), "it waits for the lock")
            refused = put.transfer("--drop-aside")
            assert refused.code == 10
            assert "is under way: pid" in refused.failed()["error"]
            assert put.transfer("--drop-aside", "--dry-run").code == 0
        assert program.wait() == 0, program.output
    assert put.databases() == {"postgres"}


def test_a_report_of_it(put: World) -> None:
    """--report has what went, and the answer on the screen the same in a list."""
    path = put.operator.directory / "report.md"
    done = put.transfer("--drop-aside", "--report", str(path))
    assert done.code == 0, done.err
    assert f"| {UNDONE} | postgres |" in path.read_text()
    assert f"{RPG}: dropped, beside" in done.out
    assert "quarantine" not in done.out + path.read_text()


def test_a_removal_of_the_quarantine_says_what_is_still_put_aside(put: World) -> None:
    """It ends in the line that removes that, too, and tells of no quarantine that is gone."""
    put.moved()
    done = put.transfer("--drop-quarantine", "--json")
    assert done.code == 0, done.err
    assert done.json["quarantine"] == []
    assert f"the database '{UNDONE}' is still put aside" in done.json["notes"]
    *_, line = done.json["next"]
    assert shell(put, line).returncode == 0
    assert put.databases() == {"postgres", RPG_DB}


@pytest.mark.parametrize("word", ["--undo", "--drop-quarantine"])
def test_a_dry_run_of_what_comes_after_a_move(put: World, word: str) -> None:
    """It counts and checks, says what would be done, and leaves everything as it is."""
    put.moved()
    put.sql("insert into rpg_items (name) values ('late')", RPG_DB)
    before = put.dump("postgres")
    plan = put.transfer(word, "--dry-run", "--json")
    assert (plan.code, plan.json["result"]) == (0, "planned")
    written = {each["object"]: each["written"] for each in plan.json["rows"]}
    assert written == {"dnd_rolls": 0, "rpg_items": 1}
    [line] = plan.json["next"]
    assert put.dump("postgres") == before
    assert put.databases() == {"postgres", RPG_DB, UNDONE}
    assert shell(put, line).returncode == 0
    assert put.sql("select from pg_namespace where nspname ~ '^moved_'") == []


def test_a_standby_is_refused(world: World) -> None:
    """Nothing is tried where nothing can be written: exit 4."""
    (world.server.data / "standby.signal").touch()
    world.server.restart()
    refused = world.transfer("--drop-aside")
    assert refused.code == 4
    assert "standby" in refused.failed()["error"]


def test_an_empty_database_of_that_name_is_not_tidied_away(put: World) -> None:
    """A run with nothing to move removes what a killed one has marked, and nothing else."""
    put.moved()
    put.sql(f"create database {REPLACED}")
    again = put.transfer("--json")
    assert again.json["result"] == "nothing to move"
    assert REPLACED in put.databases()
    put.sql(f"drop database {REPLACED}")
    put.sql(f"drop database {UNDONE}")
    put.sql(f"create database {REPLACED}")
    note = json.dumps({"database": RPG_DB, "name": REPLACED, "at": "2026-01-02T03:04:05Z"})
    put.sql(f"comment on database {REPLACED} is 'entrypoint put aside: {note}'")
    assert put.transfer().code == 0
    assert REPLACED not in put.databases()
