"""`entrypoint verify` of a service's database as such: notices, which only --strict ends with."""

from __future__ import annotations

import re
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from entrypoint.config import dialects
from entrypoint.postgres import ledger
from entrypoint.postgres.session import open_session
from entrypoint.postgres.sql import load_sql
from tests.operator.conftest import RPG, RPG_DB, SERVICES, create_database, create_role
from tests.support.program import until

if TYPE_CHECKING:
    from tests.operator.conftest import Operator

DEMO = ["--service", "demo", "--json"]


def demo(operator: Operator, more: str = "", **keys: str) -> dict[str, str]:
    """Create a database of its own for one service, and register it."""
    create_database(operator.server, "demo_db", more)
    return operator.registry(("demo", "demo_db", ["demo_"]), ("other", "other_db", []), **keys)


def only(operator: Operator, environ: dict[str, str]) -> dict[str, Any]:
    """The only finding of `demo`, a notice: exit 0, and 9 with --strict."""
    answer = operator.run("verify", *DEMO, environ=environ)
    [found] = answer.findings
    assert (found["level"], found["database"], found["service"]) == ("notice", "demo_db", "demo")
    assert found["object"] is found["kind"] is None
    assert answer.code == 0
    assert operator.run("verify", *DEMO, "--strict", environ=environ).code == 9
    return found


def test_a_clean_server(operator: Operator) -> None:
    """Exit 0 with and without --strict; all seven databases were looked at."""
    for words in (["verify", "--json"], ["verify", "--json", "--strict"]):
        answer = operator.run(*words)
        assert (answer.code, answer.findings, answer.json["failures"]) == (0, [], [])
        assert answer.json["databases"] == ["postgres", *SERVICES.values()]
        assert answer.err == ""


def test_a_missing_database(operator: Operator) -> None:
    """It is misplaced, and the remedy creates it."""
    environ = operator.registry(("demo", "demo_db", ["demo_"]), ("other", RPG_DB, []))

    answer = operator.run("verify", *DEMO, environ=environ)

    [found] = answer.findings
    assert (found["level"], found["finding"]) == ("misplaced", "database_missing")
    assert found["remedy"] == "Run entrypoint create --service demo."
    assert (answer.code, answer.json["databases"]) == (9, ["postgres"])
    assert operator.run("create", "--service", "demo", environ=environ).code == 0
    assert operator.run("verify", *DEMO, environ=environ).code == 0


def test_an_unexpected_owner(operator: Operator) -> None:
    """The registry's `owner` is the one that should be, and the remedy makes it so."""
    create_role(operator.server, 'Own"er')
    environ = demo(operator, owner='Own"er')

    answer = operator.run("verify", *DEMO, environ=environ)

    [found] = answer.findings
    assert (answer.code, found["level"], found["finding"]) == (9, "misplaced", "owner")
    assert "'postgres', not by 'Own\"er'" in found["message"]
    statement = re.search(r"ALTER DATABASE .* OWNER TO \S+(?=;)", found["remedy"])
    assert statement
    operator.execute(statement[0])
    assert operator.run("verify", *DEMO, environ=environ).findings == []


def test_tables_of_another_role(operator: Operator) -> None:
    """Where the registry says nothing, the owner of the tables should own the database."""
    create_role(operator.server, "worker")
    environ = demo(operator)
    operator.execute(
        "create table demo_t (id int); alter table demo_t owner to worker; create extension hstore",
        "demo_db",
    )
    found = only(operator, environ)

    assert found["finding"] == "owner"
    assert found["remedy"] == 'Run ALTER DATABASE "demo_db" OWNER TO "worker".'
    operator.execute('alter database "demo_db" owner to "worker"')
    assert operator.run("verify", *DEMO, environ=environ).findings == []


def test_create_says_so_too(operator: Operator) -> None:
    """A database of somebody else's than the registry says is no success of `create`."""
    create_role(operator.server, "expected")
    environ = demo(operator, owner="expected")

    answer = operator.run("create", *DEMO, "--json", environ=environ)

    assert answer.code == 5
    [made] = answer.json["databases"]
    assert made["result"] == "failed"
    assert "is owned by 'postgres', not by 'expected'" in made["failure"]["message"]


def test_everybody_may_create(operator: Operator) -> None:
    """A schema public in which every role may put something; the remedy closes it."""
    environ = demo(operator)
    operator.execute("grant create on schema public to public", "demo_db")

    found = only(operator, environ)

    assert found["finding"] == "public_create"
    statement = found["remedy"].removeprefix("Run ").removesuffix(" in 'demo_db'.")
    operator.execute(statement, "demo_db")
    assert operator.run("verify", *DEMO, environ=environ).findings == []


def test_everybody_may_connect(operator: Operator) -> None:
    """A database that PUBLIC may connect to; the remedy closes it."""
    environ = demo(operator)
    operator.execute("grant connect on database demo_db to public")

    found = only(operator, environ)

    assert found["finding"] == "public_connect"
    operator.execute(found["remedy"].removeprefix("Run ").removesuffix("."))
    assert operator.run("verify", *DEMO, environ=environ).findings == []


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_an_encoding_that_is_not_utf8(operator: Operator, encoding: str) -> None:
    """It is named; what is in the database is still looked at."""
    environ = demo(operator, f"template template0 encoding '{encoding}'")
    operator.execute('create table "demo_é" (id int)', "demo_db")

    found = only(operator, environ)

    assert found["finding"] == "encoding"
    assert encoding in found["message"]


def test_texts_that_are_not_utf8(operator: Operator) -> None:
    """Names and comments from a database of another encoding hinder no command."""
    create_database(operator.server, "latin", "template template0 encoding 'LATIN1'")
    operator.execute(r"comment on database latin is U&'Produ\00e7\00e3o'", "latin")
    operator.execute(rf"comment on database {RPG_DB} is U&'Produ\00e7\00e3o'", "latin")
    operator.execute(r'create database U&"relat\00f3rio"', "latin")
    try:
        answer = operator.run("verify", "--json")
        unclaimed = [found["database"] for found in answer.findings]
        assert sorted(unclaimed) == ["latin", r"relat\xf3rio"]
        assert answer.code == 0
        assert operator.run("create", "--dry-run").code == 0
        assert operator.run("status").code == 0
    finally:
        operator.execute(r'drop database U&"relat\00f3rio"', "latin")


def test_a_name_that_cannot_be_read(operator: Operator) -> None:
    """A SQL_ASCII database with bytes that are not UTF-8 could not be looked at: never clean."""
    environ = demo(operator, "template template0 encoding 'SQL_ASCII'")

    def execute(before: str, after: str) -> None:
        text = f"begin execute '{before} table demo_' || chr(233) || ' {after}'; end"
        operator.execute(f"set client_encoding = 'SQL_ASCII'; do $$ {text} $$", "demo_db")

    execute("create", "()")

    answer = operator.run("verify", *DEMO, environ=environ)

    assert answer.code == 5
    [failed] = answer.json["failures"]
    assert failed["database"] == "demo_db"
    assert "rename the object with it in its name" in failed["remedy"]
    assert answer.json["databases"] == ["postgres"]

    execute("alter", "rename to demo_e")
    assert operator.run("verify", *DEMO, environ=environ).json["failures"] == []


def test_another_version_of_the_collation(operator: Operator) -> None:
    """Recorded and actual version differ; a version that was never recorded says nothing."""
    environ = demo(operator, "template template0 locale_provider builtin builtin_locale 'C.UTF-8'")
    update = "update pg_database set datcollversion = {} where datname = 'demo_db'"
    assert operator.run("verify", *DEMO, environ=environ).findings == []

    operator.execute(update.format("'0'"))
    found = only(operator, environ)
    assert found["finding"] == "collation_version"
    for statement in found["remedy"].removeprefix("Run ").removesuffix(".").split(", then "):
        operator.execute(statement, "demo_db")
    assert operator.run("verify", *DEMO, environ=environ).findings == []

    operator.execute(update.format("null"))
    assert operator.run("verify", *DEMO, environ=environ).findings == []


def test_unclaimed_databases(operator: Operator) -> None:
    """In nobody's row; templates are not, nor what --ignore and verify.ignore name."""
    for name in ("metabase", "old db", "legacy"):
        create_database(operator.server, name)
    operator.execute("create database our_template is_template true")
    try:
        answer = operator.run("verify", "--json")
        assert [(f["level"], f["finding"], f["database"]) for f in answer.findings] == [
            ("notice", "database_unclaimed", name) for name in ("legacy", "metabase", "old db")
        ]
        assert all(found["size_bytes"] > 1_000_000 for found in answer.findings)
        assert all(found["service"] is None for found in answer.findings)
        assert answer.json["databases"] == ["postgres", *SERVICES.values()]

        (operator.directory / "entrypoint.toml").write_text('[verify]\nignore = ["legacy"]\n')
        answer = operator.run("verify", "--json", "--ignore", "metabase", "--ignore", "old db")
        assert answer.findings == []

        environ = {"ENTRYPOINT_VERIFY_IGNORE": "metabase"}
        answer = operator.run("verify", "--json", environ=environ)
        assert [found["database"] for found in answer.findings] == ["legacy", "old db"]
    finally:
        operator.execute("alter database our_template is_template false")


def test_an_invalid_index(operator: Operator) -> None:
    """One that failed to be built is named with its schema; the remedy mends it."""
    environ = demo(operator)
    operator.execute(
        'create schema "My App"; create table "My App".demo_t (id int);'
        'insert into "My App".demo_t values (1), (1)',
        "demo_db",
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        operator.execute(
            'create unique index concurrently "demo i" on "My App".demo_t (id)', "demo_db"
        )
    found = only(operator, environ)

    assert found["finding"] == "invalid_index"
    assert '"My App"."demo i"' in found["message"]
    operator.execute('delete from "My App".demo_t', "demo_db")
    remedy = found["remedy"].removeprefix("Run ").partition(", or")[0]
    operator.execute(remedy, "demo_db")
    assert operator.run("verify", *DEMO, environ=environ).findings == []


def test_a_guard_that_a_crash_left(operator: Operator) -> None:
    """Its event trigger or its triggers are named, and the remedy removes the former."""
    environ = demo(operator)
    operator.execute(
        "create function demo_f() returns event_trigger language plpgsql as 'begin end';"
        "create event trigger entrypoint_guard on sql_drop execute function demo_f();"
        "alter extension plpgsql add event trigger entrypoint_guard",
        "demo_db",
    )
    found = only(operator, environ)

    assert found["finding"] == "guard"
    remedy = found["remedy"].partition(" event trigger, run ")[2].removesuffix(".")
    operator.execute(remedy, "demo_db")
    operator.execute(
        "create table demo_t (id int); create trigger entrypoint_guard before truncate on demo_t"
        " when (false) execute function pg_catalog.suppress_redundant_updates_trigger()",
        "demo_db",
    )
    assert only(operator, environ)["finding"] == "guard"
    operator.execute("drop trigger entrypoint_guard on demo_t", "demo_db")
    assert operator.run("verify", *DEMO, environ=environ).findings == []


def test_an_index_that_is_being_built(operator: Operator) -> None:
    """It is not valid yet, which is no finding."""
    environ = demo(operator)
    operator.execute("create table demo_t (id int)", "demo_db")
    building = ("create index concurrently demo_i on demo_t (id)", "demo_db")
    thread = threading.Thread(target=operator.execute, args=building)
    with operator.server.connect("demo_db") as connection, connection.transaction():
        connection.execute("insert into demo_t values (1)")
        thread.start()
        query = "select 1 from pg_index where not indisvalid"
        until(lambda: operator.execute(query, "demo_db"), "it is begun")
        answer = operator.run("verify", *DEMO, environ=environ)
    thread.join()

    assert answer.findings == []


def push(fingerprint: str, catalog: str, *, older: bool = False) -> ledger.PushRecord:
    """A push as the ledger has it."""
    releases = (f"release {fingerprint}",)
    at = "2026-01-02T03:04:05Z"
    return ledger.PushRecord(fingerprint, catalog, releases, "h", at, 1.5, older=older)


def write(operator: Operator, book: ledger.Ledger | str) -> None:
    """Put a ledger, or a text, into the comment of RPG's database."""
    text = book if isinstance(book, str) else ledger.render("words", book)
    comment = sql.SQL("comment on database {} is {}")
    with operator.server.connect() as connection:
        connection.execute(comment.format(sql.Identifier(RPG_DB), sql.Literal(text)))


def catalog_now(operator: Operator) -> str:
    """The fingerprint of RPG's schema."""
    conninfo = dialects.parse(operator.server.url(RPG_DB))
    with closing(
        open_session(conninfo, 5, application_name="t", probe=load_sql("postgres/probe"))
    ) as session:
        fingerprint = ledger.found(session.probed).catalog
    assert fingerprint is not None
    return fingerprint


def notices(operator: Operator) -> list[tuple[str, str]]:
    """What verify notices about RPG, and the remedies; nothing is misplaced."""
    answer = operator.run("verify", "--json", "--service", RPG)
    assert answer.code == 0
    assert {found["level"] for found in answer.findings} <= {"notice"}
    return [(found["finding"], found["message"]) for found in answer.findings]


def test_drift(operator: Operator) -> None:
    """A schema that is not that of the last push, and when that was."""
    write(operator, ledger.Ledger((push("a", catalog_now(operator)),)))
    assert notices(operator) == []

    operator.execute("create table rpg_by_hand (id int)", RPG_DB)
    [(finding, message)] = notices(operator)
    assert finding == "drift"
    assert "2026-01-02T03:04:05Z" in message


def test_an_older_release_was_pushed_last(operator: Operator) -> None:
    """It was pushed although a newer one had been."""
    now = catalog_now(operator)
    write(operator, ledger.Ledger((push("b", now), push("a", now))))
    assert notices(operator) == []

    write(operator, ledger.Ledger((push("b", now), push("a", now, older=True))))
    [(finding, message)] = notices(operator)
    assert finding == "older_release"
    assert "release a" in message


def test_what_a_failed_push_left(operator: Operator) -> None:
    """Damage that is in the ledger, with the release that did it."""
    left = ledger.Damage("index rpg_i", 0, "f", "release b", "2026-01-02T03:04:05Z")
    write(operator, ledger.Ledger((push("a", catalog_now(operator)),), damages=(left,)))
    [(finding, message)] = notices(operator)
    assert finding == "damage"
    assert "release b" in message
    assert "index rpg_i" in message


def test_a_tenant_that_was_seeded_twice(operator: Operator) -> None:
    """The same UUID in two spellings; other tenants are none of it."""
    tenant = "6F1C2B3A-9d4e-4f50-8a61-7b2c3d4e5f60"
    times = ("f", "2026-01-02T03:04:05Z")
    write(operator, ledger.Ledger(seeds={tenant: times, "-": times, tenant.lower(): times}))
    [(finding, message)] = notices(operator)
    assert finding == "tenant_twice"
    assert tenant.lower() in message

    write(operator, ledger.Ledger(seeds={tenant: times, "-": times}))
    assert notices(operator) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("entrypoint:{", ["ledger"]),
        ('entrypoint:{"v":7}', ["ledger"]),
        ("entrypoint:" + "[" * 5000, ["ledger"]),
        ("words of people", []),
        ("", []),
    ],
    ids=["cut", "later", "nested", "words", "none"],
)
def test_a_ledger_that_cannot_be_read(operator: Operator, text: str, found: list[str]) -> None:
    """Whatever stands in a database's comment is at most a notice."""
    write(operator, text)

    assert [finding for finding, _ in notices(operator)] == found
