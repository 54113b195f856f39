"""`create --sql` and `verify --sql`: what people paste into pgAdmin does what the commands do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.operator.conftest import RPG, RPG_DB, SERVICES
from tests.operator.test_verify import BEFORE, NOT_STRAY, STRAYS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.operator.conftest import Operator

DOCS = Path(__file__).parents[2] / "docs" / "pgadmin"

OWN = """
["my service"]
database = "gaqno_rpg_db"
prefixes = ["a_", "a_b_", "o'"]
names = ["outbox", "audit.log"]

[other]
database = "gaqno_ai_db"
prefixes = ["a_b_c_"]
names = ["outbox"]

[free]
database = "gaqno_pdv_db"
"""

FOLLOWERS = """
create schema audit; create table audit.log (id int); create table audit.more (id int);
create table outbox (id int); create table a_x (id int); create table a_b_c_x (id int);
create table "o'x" (id int); create table migrations (id int); create table nobodys (id int);
create type mood as enum ('sad'); alter table a_x add m mood;
create type theirs as enum ('sad'); alter table a_b_c_x add m theirs;
create type shared as enum ('sad'); alter table a_x add b shared;
alter table a_b_c_x add b shared;
create type unused as enum ('sad'); create domain of_nobody as int;
alter table nobodys add d of_nobody; create domain of_outbox as int;
alter table outbox add d of_outbox;
create sequence numbers; alter table a_x add n int default nextval('numbers');
create function calc(int) returns int language sql immutable return $1;
alter table a_b_c_x add check (calc(id) > 0);
create schema moved; comment on schema moved is 'entrypoint moved: {"service": "s", "database": "d",
  "origin": "public", "at": "2026"}'; create table moved.a_old (id int)
"""


def script(operator: Operator, *words: str, **environ: str) -> str:
    """What a command prints with --sql; no server is named."""
    done = operator.run(*words, "--sql", environ={"DATABASE_URL": "", **environ})
    assert (done.code, done.err) == (0, "")
    return done.out


def executed(operator: Operator, text: str, database: str = "postgres") -> list[tuple[Any, ...]]:
    """As pgAdmin executes it: all at once, and the last result is shown."""
    with operator.server.connect(database) as connection:
        cursor = connection.execute(text.encode())
        while cursor.nextset():
            pass
        return cursor.fetchall()


def ordered(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """In an order for rows with None in them."""
    return sorted(rows, key=repr)


def compare(operator: Operator, database: str, *words: str, **environ: str) -> int:
    """Hold what the query finds of objects to what `verify` finds; how many there are."""
    answer = operator.run("verify", "--json", *words, environ=environ)
    expected = ordered(
        (f["finding"], f["kind"], f["object"], f["service"], f["rows"])
        for f in answer.findings
        if f["database"] == database and f["object"] is not None
    )
    rows = executed(operator, script(operator, "verify", *words, **environ), database)
    found = ordered(
        (finding, kind, name, None if (whose or "").startswith("perhaps") else whose, count)
        for finding, kind, name, whose, count, _ in rows
        if finding != "quarantine"
    )
    assert found == expected
    return len(found)


@pytest.mark.parametrize("database", ["postgres", RPG_DB, "gaqno_ai_db"])
def test_the_query_finds_what_verify_finds(operator: Operator, database: str) -> None:
    """Each stray of every kind and prefix, once, with its service and its rows."""
    text = BEFORE + ";".join(stray.statement for stray in STRAYS) + ";" + NOT_STRAY
    operator.execute(f"{text}; analyze", database)
    assert compare(operator, database) > 30


@pytest.mark.parametrize("database", ["postgres", RPG_DB, "gaqno_ai_db", "gaqno_pdv_db"])
def test_the_query_knows_names_and_followers(operator: Operator, database: str) -> None:
    """Of a registry of one's own: whole names, no prefixes at all, quotes, and who uses what."""
    (operator.directory / "mine.toml").write_text(OWN)
    operator.execute(f"{FOLLOWERS}; analyze", database)
    assert compare(operator, database, ENTRYPOINT_SERVICES="mine.toml") > 0


def test_the_query_for_one_service(operator: Operator) -> None:
    """It finds that one's in postgres, and nothing in the database of another."""
    for database in ("postgres", RPG_DB, "gaqno_ai_db"):
        operator.execute("create table rpg_x (id int); create table sso_x (id int)", database)
    assert compare(operator, "postgres", "--service", RPG) == 1
    assert compare(operator, RPG_DB, "--service", RPG) == 1
    assert compare(operator, "gaqno_ai_db", "--service", RPG) == 0


def test_the_query_tells_whose_a_shared_name_may_be(operator: Operator) -> None:
    """And it names each schema in which a transfer keeps what it moved, with nothing of its own."""
    (operator.directory / "mine.toml").write_text(OWN)
    operator.execute(FOLLOWERS)
    rows = executed(operator, script(operator, "verify", ENTRYPOINT_SERVICES="mine.toml"))
    assert ("stray_object", "table", "outbox", "perhaps my service or other") in [
        row[:4] for row in rows
    ]
    assert ("quarantine", "schema", "moved") in [row[:3] for row in rows]
    assert not any("a_old" in row[2] for row in rows)


def test_the_tools_own_tables_by_the_settings(operator: Operator) -> None:
    """`verify.bookkeeping` replaces the list in the query as well."""
    (operator.directory / "entrypoint.toml").write_text('[verify]\nbookkeeping = ["a.books"]\n')
    operator.execute(
        "create schema a; create table a.books (id int); create table books (id int);"
        "create table pgmigrations (id int)"
    )
    assert compare(operator, "postgres") == 2


def test_an_owner_s_functions_are_not_asked(operator: Operator) -> None:
    """A function that fits better than the server's own, first in the path, is not called."""
    operator.execute(
        'create function "left"(name, int) returns text language plpgsql as '
        "$$ begin raise 'called'; end $$; create table rpg_x (id int)"
    )
    text = script(operator, "verify")
    with pytest.raises(psycopg.errors.RaiseException, match="called"):
        executed(operator, text.replace("set search_path", "-- set search_path"))
    assert [row[2] for row in executed(operator, text)] == ["rpg_x", "left(name, integer)"]


def statements(text: str) -> list[str]:
    """What is marked and executed one by one."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [each.strip() for each in "\n".join(lines).split(";") if each.strip()]


def test_the_databases_are_made_one_by_one(stranger: Operator) -> None:
    """As pgAdmin does it; then nothing is missing, and `create` has nothing to do."""
    *creating, missing = statements(script(stranger, "create"))
    assert [name for (name,) in executed(stranger, missing)] == sorted(SERVICES.values())
    for statement in creating:
        stranger.execute(statement)
        with pytest.raises(psycopg.errors.DuplicateDatabase):
            stranger.execute(statement)
    assert executed(stranger, missing) == []
    created = stranger.run("create", "--json").json["databases"]
    assert {each["result"] for each in created} == {"exists"}


def test_the_databases_are_as_create_makes_them(stranger: Operator) -> None:
    """With what a new one is to get besides, each has the owner, encoding and rights of ours."""
    stranger.execute("create role boss")
    (stranger.directory / "mine.toml").write_text(
        '[a]\ndatabase = "by script"\nowner = "boss"\n[b]\ndatabase = "by create"\nowner = "boss"\n'
    )
    environ = {"ENTRYPOINT_SERVICES": "mine.toml"}
    text = script(stranger, "create", "--service", "a", **environ)
    marked = [
        line.removeprefix("-- ") for line in text.splitlines() if line.startswith("-- revoke")
    ]
    for statement in [*statements(text)[:-1], *marked]:
        stranger.execute(statement)
    assert stranger.run("create", "--service", "b", environ=environ).code == 0
    (one, *ours), (other, *theirs) = stranger.execute(
        "select datname, datdba, encoding, datcollate, datacl from pg_database "
        "where datname like 'by %' order by 1"
    )
    assert (one, other) == ("by create", "by script")
    assert ours == theirs


def test_create_leaves_open_what_is_to_be_open(stranger: Operator) -> None:
    """With --no-isolate no statement closes a database."""
    assert "revoke" in script(stranger, "create")
    assert "revoke" not in script(stranger, "create", "--no-isolate")


@pytest.mark.parametrize(
    ("name", "command"), [("create-databases.sql", "create"), ("find-strays.sql", "verify")]
)
def test_the_files_are_what_the_commands_print(operator: Operator, name: str, command: str) -> None:
    """For the shipped registry, in docs/pgadmin."""
    assert (DOCS / name).read_text() == script(operator, command)


def test_the_files_run_in_psql(stranger: Operator) -> None:
    """The first makes every database and fails for none on a second run but by "already exists"."""
    stranger.execute("create table rpg_x (id int)")
    first = psql(stranger, "create-databases.sql")
    assert first.stderr == ""
    again = psql(stranger, "create-databases.sql").stderr.splitlines()
    assert len(again) == len(SERVICES)
    assert all(line.endswith("already exists") for line in again)
    found = psql(stranger, "find-strays.sql")
    assert found.stderr == ""
    assert "stray_object|table|rpg_x|gaqno-rpg-service" in found.stdout


def psql(operator: Operator, name: str) -> subprocess.CompletedProcess[str]:
    """Run a file by it."""
    program = str(operator.server.pg_bin / "psql")
    command = [program, "-XAtq", "-f", str(DOCS / name), operator.url]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_a_wrong_registry_is_told(operator: Operator) -> None:
    """Nothing is printed but the error, with the documented exit code."""
    (operator.directory / "mine.toml").write_text("nonsense")
    for words in (("create",), ("verify",)):
        done = operator.run(*words, "--sql", environ={"ENTRYPOINT_SERVICES": "mine.toml"})
        assert (done.code, done.out) == (3, "")
        assert "ENTRYPOINT_SERVICES: is not valid TOML" in done.failed()["error"]
