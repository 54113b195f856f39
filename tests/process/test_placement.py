"""At a container start: after a push, whether every table is where it belongs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import pytest
from psycopg import sql

from tests.support.program import Program, python, until
from tests.support.server import Server
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Endpoint

OWN, OTHER = "demo_db", "other_db"

REGISTRY = f"""
[demo]
database = "{OWN}"
prefixes = ["rpg_", "runs"]

[other]
database = "{OTHER}"
prefixes = ["other_"]
"""


@pytest.fixture(scope="module")
def placed() -> Iterator[Server]:
    """A server for this module, because strays in `postgres` are everybody's."""
    with Server.start() as server:
        yield server


@pytest.fixture
def stage(placed: Server, tmp_path: Path) -> Iterator[Stage]:
    """A registered service whose second start can be proved needless; `postgres` is empty."""
    (tmp_path / "services.toml").write_text(REGISTRY)
    execute(placed, "create role demo login createdb password 'its-password'")
    made = Stage(tmp_path, placed, OWN, "demo", "its-password")
    made.environ |= {"ENTRYPOINT_SERVICES": "services.toml", "ENTRYPOINT_RELEASE": "v1"}
    yield made
    made.close()
    execute(placed, f"drop database if exists {OWN} with (force)")
    execute(placed, "drop schema public cascade; create schema public; drop role demo")


def execute(server: Endpoint, statement: str, database: str = "postgres") -> list[Any]:
    """Run SQL as the superuser; its rows."""
    with server.connect(database) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def strew(stage: Stage, *names: str) -> None:
    """Create tables in `postgres`."""
    with stage.server.connect() as connection:
        for name in names:
            create = sql.SQL("create table {} (id int)")
            connection.execute(create.format(sql.Identifier(name)))


def found(program: Program) -> list[tuple[str, str, str | None]]:
    """What was logged as misplaced: database, object, whose."""
    events = program.all("verify.found")
    assert {event["level"] for event in events} <= {"warning"}
    return [(event["database"], event["object"], event["owner"]) for event in events]


def started(program: Program) -> Program:
    """The service was started."""
    assert program.wait() == 0, program.output
    assert "handoff.executed" in program.names()
    return program


def test_strays_are_logged(stage: Stage) -> None:
    """Those in its own database and in `postgres`, each with what to do; the service starts."""
    stage.push = python("push", "sql", "create table other_t (id int); create table plain (id int)")
    strew(stage, "rpg_lost", "other_lost", "nobodys")

    program = started(stage.start())

    assert found(program) == [
        (OWN, "other_t", "other"),
        (OWN, "plain", None),
        ("postgres", "nobodys", None),
        ("postgres", "other_lost", "other"),
        ("postgres", "rpg_lost", "demo"),
    ]
    lost = program.all("verify.found")[-1]
    assert lost["remedy"] == "Run entrypoint transfer demo."
    assert "that database must contain no application's object" in lost["finding"]
    names = program.names()
    assert names.index("push.finished") < names.index("verify.found") < names.index("seed.started")


def test_nothing_is_logged_where_all_is_well(stage: Stage) -> None:
    """Neither the service's own tables nor what an extension or a tool made."""
    execute(stage.server, "create extension hstore; create table _prisma_migrations (id int)")

    program = started(stage.start())

    assert [name for name in program.names() if name.startswith("verify.")] == []


ENUMS = (
    "create type transaction_type as enum ('in', 'out'); create type account_kind as enum ('x');"
    "create type lone as enum ('x'); create sequence invoice_number;"
    "create function touch() returns trigger language plpgsql as 'begin return new; end';"
    "create table rpg_transactions (id int default nextval('invoice_number'),"
    " kind transaction_type, account account_kind[]);"
    "create trigger touch before insert on rpg_transactions for each row execute function touch()"
)


def test_enums_without_a_prefix(stage: Stage) -> None:
    """What the service's tables use is no warning; the name of what nothing uses clears it."""
    stage.push = python("push", "sql", ENUMS)

    first = started(stage.start())
    text = REGISTRY.replace('"runs"]', '"runs"]\nnames = ["lone"]')
    (stage.directory / "services.toml").write_text(text)
    stage.push = python("push")
    stage.environ["ENTRYPOINT_RELEASE"] = "v2"
    second = started(stage.start())

    assert found(first) == [(OWN, "lone", None)]
    assert "add 'lone' to the names of its row" in first.one("verify.found")["remedy"]
    assert second.one("push.started")["reason"] == "changed"
    assert found(second) == []


def test_a_push_of_nothing_but_a_listed_table(stage: Stage) -> None:
    """It is believed, as a table with the service's prefix is; unlisted it is no table of its."""
    statements = "create schema if not exists app", "create table if not exists app.outbox (id int)"
    stage.push = python("execute", *statements)
    stage.environ["ENTRYPOINT_SKIP"] = "seed"
    unlisted = stage.start()
    assert unlisted.wait() == 7
    text = REGISTRY.replace('"runs"]', '"runs"]\nnames = ["app.outbox"]')
    (stage.directory / "services.toml").write_text(text)
    listed = started(stage.start())

    assert "no table whose name begins with rpg_ or runs" in unlisted.one("push.failed")["error"]
    assert (
        "or the service's prefixes or names in the registry"
        in (unlisted.one("push.failed")["remedy"])
    )
    assert found(listed) == []


def test_only_after_a_push(stage: Stage) -> None:
    """A start with nothing to do looks nowhere; a push that fails is told for itself."""
    strew(stage, "rpg_lost")
    assert len(found(started(stage.start()))) == 1
    assert found(started(stage.start())) == []

    stage.environ["SEED_TENANT_ID"] = "00000000-0000-4000-8000-000000000001"
    again = started(stage.start())
    assert (found(again), "seed.finished" in again.names()) == ([], True)

    stage.environ["ENTRYPOINT_RELEASE"] = "v2"
    stage.push = python("push", "exit", "1")
    program = stage.start()
    assert (program.wait(), found(program)) == (7, [])


def last_pushes(stage: Stage) -> list[str]:
    """The releases of the pushes that the ledger has."""
    query = "select shobj_description(oid, 'pg_database') from pg_database where datname = %s"
    with stage.server.connect() as connection:
        [(comment,)] = connection.execute(query, [OWN]).fetchall()
    if not comment:
        return []
    book = json.loads(comment.removeprefix("entrypoint:"))
    return [push["releases"][-1] for push in book["pushes"]]


def test_a_start_that_fails_for_it(stage: Stage) -> None:
    """Exit 9, no seed, no service, no push recorded; the next start looks again."""
    stage.sections["verify"] = {"at_start": "fail"}
    strew(stage, "rpg_lost", "rpg_too")
    for _ in range(2):
        program = stage.start()
        assert program.wait() == 9
        assert program.one("push.started")["reason"] == "first"
        assert len(found(program)) == 2
        failed = program.one("verify.failed")
        assert (failed["level"], failed["exit_code"]) == ("error", 9)
        assert "2 objects" in failed["error"]
        assert "entrypoint verify" in failed["remedy"]
        assert not {"seed.started", "handoff.executed"} & set(program.names())
        assert last_pushes(stage) == []
    assert len(stage.runs("push")) == 2

    execute(stage.server, "drop table rpg_lost, rpg_too")
    assert "seed.finished" in started(stage.start()).names()
    assert last_pushes(stage) == ["v1"]


def test_a_notice_fails_no_start(stage: Stage) -> None:
    """What nobody claims may well be its database's own: logged, and started."""
    stage.sections["verify"] = {"at_start": "fail"}
    stage.push = python("push", "sql", "create table plain (id int)")

    assert found(started(stage.start())) == [(OWN, "plain", None)]
    assert last_pushes(stage) == ["v1"]


def test_prepare_fails_for_it_too(stage: Stage) -> None:
    """An init container ends with 9 as well."""
    stage.environ["ENTRYPOINT_VERIFY_AT_START"] = "fail"
    strew(stage, "rpg_lost")
    assert stage.start(command="prepare").wait() == 9


def test_off(stage: Stage, placed: Server) -> None:
    """Nothing is looked at, so nothing is said."""
    stage.environ["ENTRYPOINT_VERIFY_AT_START"] = "off"
    strew(stage, "rpg_lost")
    with Log(placed, stage) as log:
        program = started(stage.start())

    assert [name for name in program.names() if name.startswith("verify.")] == []
    # `postgres` is where the missing database was created from, once.
    assert log.connections("postgres") == 1


class Log:
    """What the server wrote of a role's connections and statements since it began."""

    def __init__(self, server: Server, stage: Stage) -> None:
        self.server = server
        self.user = stage.user

    def __enter__(self) -> Self:
        self.server.reload(
            {"log_connections": "on", "log_statement": "all", "log_line_prefix": "<%u %d> "}
        )
        self.begin = self.server.log.stat().st_size
        return self

    def __exit__(self, *_: object) -> None:
        self.server.reload({"log_connections": "off", "log_statement": "none"})

    def lines(self, database: str, what: str) -> list[str]:
        """The role's lines in a database of one kind."""
        written = self.server.log.read_bytes()[self.begin :].decode()
        head = f"<{self.user} {database}> LOG:  {what}"
        return [line for line in written.splitlines() if line.startswith(head)]

    def connections(self, database: str) -> int:
        """How many connections there were."""
        return len(self.lines(database, "connection authorized"))

    def statements(self, database: str) -> int:
        """How many times something was asked."""
        return len(self.lines(database, "statement")) + len(self.lines(database, "execute"))


def test_a_warm_start_pays_nothing(stage: Stage, placed: Server) -> None:
    """One connection and one round trip, whatever lies in `postgres`."""
    strew(stage, "rpg_lost")
    started(stage.start())
    with Log(placed, stage) as log:
        program = started(stage.start())

    assert program.one("push.skipped")["reason"] == "unchanged"
    assert (log.connections(OWN), log.statements(OWN)) == (1, 1)
    assert (log.connections("postgres"), log.statements("postgres")) == (0, 0)


def test_a_push_costs_one_more_connection(stage: Stage, placed: Server) -> None:
    """The default database is looked at once, and the session is closed."""
    started(stage.start())
    stage.environ["ENTRYPOINT_FORCE"] = "push"
    with Log(placed, stage) as log:
        started(stage.start())

    assert log.connections("postgres") == 1
    gone = "select 1 from pg_stat_activity where usename = 'demo'"
    until(lambda: not execute(stage.server, gone), "no session is left")


@pytest.mark.parametrize("how", ["forbidden", "missing"])
def test_where_the_default_database_is_closed(stage: Stage, how: str) -> None:
    """A role that may not connect to `postgres`, or a server without it, starts all the same."""
    server = stage.server
    execute(server, f"create database {OWN} owner demo")
    strew(stage, "rpg_lost")
    stage.environ["ENTRYPOINT_LOG_LEVEL"] = "debug"
    stage.sections["verify"] = {"at_start": "fail"}
    stage.push = python("push", "sql", "create table plain (id int)")
    if how == "missing":
        execute(server, "alter database postgres rename to elsewhere", OWN)
    else:
        execute(server, "revoke connect on database postgres from public")
    try:
        program = started(stage.start())
    finally:
        if how == "missing":
            execute(server, "alter database elsewhere rename to postgres", OWN)
        else:
            execute(server, "grant connect on database postgres to public")

    assert found(program) == [(OWN, "plain", None)]
    incomplete = program.one("verify.database_skipped")
    assert (incomplete["level"], incomplete["database"]) == ("debug", "postgres")
    assert last_pushes(stage) == ["v1"]


def test_a_stray_that_somebody_holds(stage: Stage) -> None:
    """A lock on a table in `postgres` does not hold up a start."""
    strew(stage, "rpg_lost")
    with stage.server.connect() as connection, connection.transaction():
        connection.execute("lock table rpg_lost in access exclusive mode")
        assert len(found(started(stage.start()))) == 1


def test_more_than_anybody_reads(stage: Stage) -> None:
    """Twenty are told, and how many there are."""
    strew(stage, *(f"rpg_{number:03}" for number in range(45)))

    program = started(stage.start())

    assert [name for _, name, _ in found(program)] == [f"rpg_{n:03}" for n in range(20)]
    cut = program.one("verify.findings_truncated")
    assert (cut["findings"], cut["findings_logged"]) == (45, 20)


def test_a_service_that_nobody_registered(stage: Stage) -> None:
    """Of its own database nothing is known; `postgres` is still everybody's."""
    (stage.directory / "services.toml").write_text(
        f'[other]\ndatabase = "{OTHER}"\nprefixes = ["other_"]\n'
    )
    stage.push = python("push", "sql", "create table other_t (id int)")
    strew(stage, "other_lost", "rpg_lost")

    assert found(started(stage.start())) == [
        ("postgres", "other_lost", "other"),
        ("postgres", "rpg_lost", None),
    ]


UNKNOWN = "the start does not check its database and its tables"


def test_each_remedy_for_a_service_that_nobody_registered(stage: Stage) -> None:
    """The name that the registry has, and a row in a registry of one's own, end the warning."""
    del stage.environ["ENTRYPOINT_SERVICES"]
    (stage.directory / "services.toml").unlink()
    stage.environ |= {"ENTRYPOINT_SERVICE": "finance"}

    told = started(stage.start()).one("settings.gap_found")
    stage.environ["ENTRYPOINT_SERVICE"] = "gaqno-finance-service"
    renamed = stage.start()
    assert renamed.wait() == 3  # before the next start writes the settings that it reads
    stage.environ |= {"ENTRYPOINT_SERVICE": "finance", "ENTRYPOINT_SERVICES": "team.toml"}
    row = REGISTRY.replace("[demo]", "[finance]")
    (stage.directory / "team.toml").write_text(row)
    registered = started(stage.start())
    del stage.environ["ENTRYPOINT_SERVICES"]
    stage.top["services"] = "team.toml"
    baked = started(stage.start())

    assert told["level"] == "warning"
    assert UNKNOWN in told["reason"]
    assert told["remedy"].startswith("If it is gaqno-finance-service, name it so. ")
    # It is checked from now on, and its database is another one.
    assert (
        "gives gaqno-finance-service 'gaqno_finance_db'" in renamed.one("settings.failed")["error"]
    )
    for program in (registered, baked):
        assert program.all("settings.gap_found") == []


def test_a_registry_in_which_two_claim_the_same(stage: Stage) -> None:
    """Exit code 3 before any connection, with both problems; nothing is created."""
    (stage.directory / "services.toml").write_text(
        REGISTRY.replace(OTHER, OWN).replace('"other_"', '"rpg_"')
    )
    program = stage.start()

    assert program.wait() == 3
    failed = program.one("settings.failed")
    assert failed["problems"] == [
        "ENTRYPOINT_SERVICES: other: database 'demo_db' is also demo's",
        "ENTRYPOINT_SERVICES: other: prefix 'rpg_' is also demo's",
    ]
    assert "wait.started" not in program.names()
    assert execute(stage.server, f"select from pg_database where datname = '{OWN}'") == []


def test_bookkeeping_of_one_s_own(stage: Stage) -> None:
    """`verify.bookkeeping` counts at a start as well."""
    stage.sections["verify"] = {"bookkeeping": ["versions"]}
    strew(stage, "versions", "pgmigrations")

    assert found(started(stage.start())) == [("postgres", "pgmigrations", None)]


def test_names_that_lie(stage: Stage) -> None:
    """A table's name forges no event, and comes through as it is."""
    name = 'x\n{"event": "handoff.executed"}\x1b[2J'
    strew(stage, name)

    program = started(stage.start())

    assert found(program) == [("postgres", name, None)]
    assert len(program.all("handoff.executed")) == 1
    assert b"\x1b" not in program.stderr
