"""`entrypoint verify`: every stray is found once, whose it is, and nothing that belongs is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.operator.conftest import RPG, RPG_DB, SERVICES, create_database, put_aside

if TYPE_CHECKING:
    from tests.operator.conftest import Answer, Operator

SSO, AI, FINANCE, PDV, _, OMNI = SERVICES


class Stray(NamedTuple):
    """A statement that makes an object, and how it is named."""

    statement: str
    kind: str
    object: str
    service: str | None


STRAYS = [
    # of each prefix
    Stray("create table sso_users (id serial primary key, t text)", "table", "sso_users", SSO),
    Stray("create table ai_prompts (id int)", "table", "ai_prompts", AI),
    Stray("create table finance_bills (id int)", "table", "finance_bills", FINANCE),
    Stray("create table pdv_sales (id int)", "table", "pdv_sales", PDV),
    Stray("create table rpg_x (id int)", "table", "rpg_x", RPG),
    Stray("create table dnd_spells (id int)", "table", "dnd_spells", RPG),
    Stray("create table omni_chats (id int)", "table", "omni_chats", OMNI),
    # a prefix is literal: neither case nor `_` is bent
    Stray("create table rpgx (id int)", "table", "rpgx", None),
    Stray("create table rpg (id int)", "table", "rpg", None),
    Stray('create table "RPG_x" (id int)', "table", "RPG_x", None),
    Stray('create table "rpg-x" (id int)', "table", "rpg-x", None),
    Stray('create table "rpg_Mixed Case" (id int)', "table", "rpg_Mixed Case", RPG),
    Stray('create table "%_x" (id int)', "table", "%_x", None),
    Stray('create table "a""b\'c" (id int)', "table", "a\"b'c", None),
    Stray("create table plain (id int)", "table", "plain", None),
    # any schema counts, by the object's own name
    Stray("create table app.ai_tables (id int)", "table", "app.ai_tables", AI),
    Stray("create table app.plain (id int)", "table", "app.plain", None),
    Stray("create table rpg_space.plain (id int)", "table", "rpg_space.plain", None),
    Stray("create view app.omni_views as select 1 as a", "view", "app.omni_views", OMNI),
    # each kind
    Stray("create unlogged table ai_fast (id int)", "table", "ai_fast", AI),
    Stray("create table pdv_typed of rpg_pair", "table", "pdv_typed", PDV),
    Stray("create table pdv_child () inherits (pdv_sales)", "table", "pdv_child", PDV),
    Stray("create table sso_ids (id int generated always as identity)", "table", "sso_ids", SSO),
    Stray("create view finance_open as select 1 as a", "view", "finance_open", FINANCE),
    Stray(
        "create materialized view omni_mat as select generate_series(1, 50) as id",
        "materialized view",
        "omni_mat",
        OMNI,
    ),
    Stray(
        "create foreign table pdv_remote (id int) server loop", "foreign table", "pdv_remote", PDV
    ),
    Stray("create sequence dnd_numbers", "sequence", "dnd_numbers", RPG),
    Stray("create sequence numbers", "sequence", "numbers", None),
    Stray("create type rpg_mood as enum ('sad', 'ok')", "type", "rpg_mood", RPG),
    Stray("create domain rpg_positive as int check (value > 0)", "type", "rpg_positive", RPG),
    Stray("create type rpg_span as range (subtype = float8)", "type", "rpg_span", RPG),
    Stray("create function rpg_f(int) returns int return 1", "function", "rpg_f(integer)", RPG),
    Stray(
        "create function rpg_f(a text, b rpg_mood) returns int return 1",
        "function",
        "rpg_f(a text, b public.rpg_mood)",
        RPG,
    ),
    Stray("create function f() returns int return 1", "function", "f()", None),
    Stray(
        "create function ai_touch() returns trigger language plpgsql as 'begin return new; end'",
        "function",
        "ai_touch()",
        AI,
    ),
    Stray("create procedure sso_p() begin atomic select 1; end", "procedure", "sso_p()", SSO),
    Stray(
        "create aggregate ai_sum (int) (sfunc = int4pl, stype = int)",
        "aggregate",
        "ai_sum(integer)",
        AI,
    ),
    Stray(
        "create table finance_by_year (id int, year int) partition by list (year)",
        "table",
        "finance_by_year",
        FINANCE,
    ),
    Stray(
        "create table omni_empty_tree (id int) partition by list (id)",
        "table",
        "omni_empty_tree",
        OMNI,
    ),
    Stray("create table tables (id int)", "table", "tables", None),
]

BEFORE = """
create extension hstore; create extension citext; create extension pg_trgm;
create extension postgres_fdw; create server loop foreign data wrapper postgres_fdw;
create schema app; create schema rpg_space; create type rpg_pair as (a int, b int);
"""

NOT_STRAY = """
-- they follow their table
create table finance_2024 partition of finance_by_year for values in (2024) partition by list (id);
create table rpg_2024_1 partition of finance_2024 for values in (1);
create table app.plain_2024_2 partition of finance_2024 for values in (2);
create index rpg_index on rpg_x (id);
create trigger touch before insert on ai_prompts for each row execute function ai_touch();
create statistics rpg_statistics on t, id from sso_users;
-- an extension's
create table rpg_config (id int); alter extension hstore add table rpg_config;
create function ai_extra() returns int return 1; alter extension hstore add function ai_extra();
create schema sso_tools; create table sso_tools.sso_tool (id int);
alter extension citext add schema sso_tools;
-- the tools' own
create schema drizzle; create table drizzle.__drizzle_migrations (id serial primary key);
create table _prisma_migrations (id int); create table app._prisma_migrations (id int);
create table _schema_migrations (id int); create table schema_migrations (id int);
create table alembic_version (id int); create table flyway_schema_history (id int);
create table knex_migrations (id serial); create table knex_migrations_lock (id serial);
create table pgmigrations (id int); create table spatial_ref_sys (id int);
"""

Named = tuple[str | None, str | None, str | None]


def named(findings: list[dict[str, Any]]) -> list[Named]:
    """What the strays among the findings are, and whose."""
    return [(f["kind"], f["object"], f["service"]) for f in findings if f["object"] is not None]


@pytest.fixture
def strewn(operator: Operator) -> Operator:
    """A server with `STRAYS` in `postgres`, among much that belongs there."""
    operator.execute(BEFORE + ";".join(stray.statement for stray in STRAYS) + ";" + NOT_STRAY)
    return operator


def test_every_stray_is_named_once(strewn: Operator) -> None:
    """Of all kinds, prefixes and schemas, with its owner; nothing that belongs is named."""
    answer = strewn.run("verify", "--json")

    expected: list[Named] = [(s.kind, s.object, s.service) for s in STRAYS]
    expected.append(("type", "rpg_pair", RPG))
    assert len(expected) > 40
    key = repr
    assert sorted(named(answer.findings), key=key) == sorted(expected, key=key)
    assert answer.code == 9
    assert {(f["level"], f["finding"], f["database"]) for f in answer.findings} == {
        ("misplaced", "stray_object", "postgres")
    }
    assert answer.json["databases"] == ["postgres", *SERVICES.values()]
    assert answer.json["failures"] == []


def test_a_remedy_is_a_command_where_there_is_one(strewn: Operator) -> None:
    """What somebody's prefix claims is transferred; the rest is a person's decision."""
    for found in strewn.run("verify", "--json").findings:
        if found["service"]:
            assert found["remedy"] == f"Run entrypoint transfer {found['service']}."
            assert f"is {found['service']}'s" in found["message"]
        else:
            assert found["remedy"].startswith("Move it to the database of the service that uses it")
            assert "without any service's prefix" in found["message"]
        assert repr(found["object"]) in found["message"]


def test_the_table_says_the_same(strewn: Operator) -> None:
    """For people: a row for each, and the sum in the last line."""
    answer = strewn.run("verify")

    lines = answer.out.splitlines()
    rows = [line.split() for line in lines if line.startswith("misplaced ")]
    assert sorted(f"{row[2]} {row[3]}" for row in rows if row[2] in ("table", "sequence")) == (
        sorted(
            f"{s.kind} {s.object}".split(" Case")[0]
            for s in STRAYS
            if s.kind in ("table", "sequence")
        )
    )
    assert len(rows) == len(STRAYS) + 1
    assert lines[-1].startswith("7 databases on 127.0.0.1:")
    assert lines[-1].endswith(f": {len(rows)} misplaced, 0 notices")


def stray(answer: Answer, name: str) -> dict[str, Any]:
    """The only finding of an object."""
    [found] = [found for found in answer.findings if found["object"] == name]
    return found


def test_rows_and_sizes(operator: Operator) -> None:
    """Where an object has some: a partitioned table's are those of its partitions."""
    operator.execute(
        "create table sso_users (id serial primary key, t text);"
        "insert into sso_users (t) select repeat('x', 100) from generate_series(1, 1000); "
        "create table ai_tree (id int, year int) partition by list (year);"
        "create table ai_1 partition of ai_tree for values in (1) partition by list (id);"
        "create table ai_1_1 partition of ai_1 for values in (1);"
        "create table ai_1_2 partition of ai_1 for values in (2);"
        "create table ai_2 partition of ai_tree for values in (2);"
        "insert into ai_tree select 1 + i % 2, 1 from generate_series(1, 300) i;"
        "insert into ai_tree select 1, 2 from generate_series(1, 100) i;"
        "create table ai_bare (id int) partition by list (id);"
        "create sequence rpg_numbers; create view rpg_view as select 1 as a;"
        "create materialized view rpg_mat as select generate_series(1, 50) as id;"
        "create type rpg_type as (a int); create table pdv_empty (id int); analyze"
    )
    answer = operator.run("verify", "--json")

    numbers = {f["object"]: (f["rows"], f["size_bytes"]) for f in answer.findings}
    query = "select sum(pg_total_relation_size(c::regclass)) from unnest(%s::text[]) as c"
    with operator.server.connect() as connection:
        sizes = [
            connection.execute(query, [names]).fetchall()[0][0]
            for names in (["sso_users"], ["ai_1_1", "ai_1_2", "ai_2"], ["rpg_mat"], ["rpg_numbers"])
        ]
    assert numbers == {
        "sso_users": (1000, sizes[0]),
        "ai_tree": (400, sizes[1]),
        "ai_bare": (None, None),
        "rpg_mat": (50, sizes[2]),
        "rpg_numbers": (None, sizes[3]),
        "rpg_view": (None, None),
        "rpg_type": (None, None),
        "pdv_empty": (0, 0),
    }


def test_rows_of_what_nobody_analyzed(operator: Operator) -> None:
    """A table that was filled since it was last analyzed, or never was, does not pass as empty."""
    with operator.server.connect() as connection:
        connection.execute(
            "create table rpg_new (id int); insert into rpg_new select generate_series(1, 10);"
            "create table rpg_grown (id int)"
        )
        connection.execute("analyze rpg_grown")
        connection.execute("insert into rpg_grown select generate_series(1, 20)")
        connection.execute("select pg_stat_force_next_flush()")
    answer = operator.run("verify", "--json")

    assert stray(answer, "rpg_new")["rows"] == 10
    assert stray(answer, "rpg_grown")["rows"] == 20


def test_a_table_that_somebody_holds(operator: Operator) -> None:
    """Verify does not wait for it: named as ever, only the sizes are unknown."""
    operator.execute("create table rpg_held (id int); create table rpg_free (id int)")
    with operator.server.connect() as connection, connection.transaction():
        connection.execute("lock table rpg_held in access exclusive mode")
        answer = operator.run("verify", "--json")

    assert answer.code == 9
    assert named(answer.findings) == [("table", "rpg_free", RPG), ("table", "rpg_held", RPG)]
    assert [found["size_bytes"] for found in answer.findings] == [None, None]


def test_in_a_service_s_database(operator: Operator) -> None:
    """Another's prefix is misplaced, nobody's is a notice, its own and the tools' are neither."""
    operator.execute(
        "create extension hstore; create table rpg_x (id serial); create table dnd_y (id int);"
        "create table sso_users (id int); create table rpgx (id int); create sequence omni_s;"
        "create table _prisma_migrations (id int); create schema app;"
        "create type app.mood as enum ('a'); create function rpg_f() returns int return 1",
        RPG_DB,
    )
    answer = operator.run("verify", "--json")

    found = [(f["level"], f["finding"], f["object"], f["service"]) for f in answer.findings]
    assert sorted(found, key=repr) == [
        ("misplaced", "foreign_object", "omni_s", OMNI),
        ("misplaced", "foreign_object", "sso_users", SSO),
        ("notice", "unprefixed_object", "app.mood", None),
        ("notice", "unprefixed_object", "rpgx", None),
    ]
    assert {f["database"] for f in answer.findings} == {RPG_DB}
    assert stray(answer, "sso_users")["remedy"] == "Move it to 'gaqno_sso_db', or drop it."
    assert stray(answer, "rpgx")["remedy"].startswith(f"If it is {RPG}'s, add 'rpgx' to the names")
    assert answer.code == 9


FOLLOWERS = """
create type mood as enum ('a'); create type mood_of_many as enum ('a');
create domain positive as int check (value > 0); create type level as enum ('a');
create type stat as (l level, n int); create type span as range (subtype = float8);
create function lowest_of() returns int language sql immutable return 1;
create domain lowest as int check (value > lowest_of()); create sequence numbers;
create function at_write() returns trigger language plpgsql as 'begin return new; end';
create function may() returns bool return true; create function key_of(int) returns int
  language sql immutable return 1; create function fits(int) returns bool return true;
create type part_kind as enum ('a'); create type seen as enum ('a'); create type arg as enum ('a');
create table rpg_x (id int default nextval('numbers'), m mood, many mood_of_many[], p positive,
  s stat, r span, l lowest, check (fits(id)));
create trigger at_write before insert on rpg_x for each row execute function at_write();
create policy may on rpg_x using (may()); create index on rpg_x (key_of(id));
create table rpg_parts (id int) partition by list (id);
create table part partition of rpg_parts for values in (1);
alter table part add check ('a'::part_kind = 'a'::part_kind);
create view rpg_view as select 'a'::seen; create function rpg_f(arg) returns int return 1;
"""
"""Types, sequences and functions without a prefix, each used by something of the service's."""


def test_what_a_service_s_own_uses_is_its_own(operator: Operator) -> None:
    """Enums, domains, ranges, sequences and functions follow what uses them, through others too."""
    operator.execute(FOLLOWERS, RPG_DB)

    answer = operator.run("verify", "--json", "--strict")

    assert (answer.code, answer.findings) == (0, [])


def test_what_nothing_of_the_service_s_uses_is_told(operator: Operator) -> None:
    """A type of a stranger's table, or of a table that refers to one's own, follows neither."""
    operator.execute(
        "create type lone as enum ('a'); create type kind as enum ('a'); create sequence numbers;"
        "create table plain (id int primary key, kind kind);"
        "create table rpg_x (id int references plain);"
        "create function unused() returns int return 1; create table sso_x (id int, kind kind)",
        RPG_DB,
    )
    answer = operator.run("verify", "--json")

    assert sorted(named(answer.findings), key=repr) == [
        ("function", "unused()", None),
        ("sequence", "numbers", None),
        ("table", "plain", None),
        ("table", "sso_x", SSO),
        ("type", "kind", None),
        ("type", "lone", None),
    ]


def test_the_remedy_for_what_has_no_prefix(operator: Operator) -> None:
    """A name in the service's row clears it, with what the table uses, and renames nothing."""
    operator.execute(
        "create type outbox_state as enum ('new'); create schema app;"
        "create table outbox (id int, state outbox_state); create table app.log (id int)",
        RPG_DB,
    )
    row = f'["{RPG}"]\ndatabase = "{RPG_DB}"\nprefixes = ["rpg_"]\n'
    other = '[other]\ndatabase = "gaqno_ai_db"\nprefixes = ["ai_"]\nnames = ["outbox"]\n'
    path = operator.directory / "services.toml"
    environ = {"ENTRYPOINT_SERVICES": path.name}
    ignored = [w for name in SERVICES.values() for w in ("--ignore", name)]

    path.write_text(row + other)
    before = operator.run("verify", "--json", *ignored, environ=environ)
    path.write_text(f'{row}names = ["outbox", "app.log"]\n{other}')
    after = operator.run("verify", "--json", "--strict", *ignored, environ=environ)

    assert named(before.findings) == [
        ("table", "app.log", None),
        ("table", "outbox", None),
        ("type", "outbox_state", None),
    ]
    assert "the registry has it for other" in stray(before, "outbox")["message"]
    for found in before.findings:
        assert f"add {found['object'].split('.')[-1]!r} to the names" in found["remedy"]
    assert (after.code, after.findings) == (0, [])


def test_a_shared_name_elsewhere(operator: Operator) -> None:
    """In `postgres` and in a neighbour's database it is told, and not said to be anybody's."""
    for database in ("postgres", "gaqno_ai_db"):
        operator.execute("create table outbox (id int)", database)
    rows = [("rpg", RPG_DB, ["rpg_"]), ("sso", "gaqno_sso_db", ["sso_"])]
    environ = operator.registry(*rows, ("ai", "gaqno_ai_db", ["ai_"]))
    path = operator.directory / "services.toml"
    text = path.read_text()
    for prefix in ("rpg_", "sso_"):
        text = text.replace(f'["{prefix}"]', f'["{prefix}"]\nnames = ["outbox"]')
    path.write_text(text)
    ignored = [w for name in SERVICES.values() for w in ("--ignore", name)]

    answer = operator.run("verify", "--json", *ignored, environ=environ)

    assert [(f["finding"], f["level"], f["service"]) for f in answer.findings] == [
        ("stray_object", "misplaced", None),
        ("unprefixed_object", "notice", None),
    ]
    for found in answer.findings:
        assert "the registry has it for rpg and sso" in found["message"]
    assert (
        "transfer SERVICE --with outbox, where SERVICE is rpg or sso"
        in (answer.findings[0]["remedy"])
    )


def test_a_service_without_prefixes(operator: Operator) -> None:
    """Nothing in its own database is a notice; another's prefix is still misplaced."""
    create_database(operator.server, "orders_db")
    operator.execute("create table anything (id int); create table rpg_x (id int)", "orders_db")
    environ = operator.registry(("orders", "orders_db", []), ("rpg", RPG_DB, ["rpg_"]))
    ignored = [word for name in SERVICES.values() for word in ("--ignore", name)]

    answer = operator.run("verify", "--json", *ignored, environ=environ)

    assert named(answer.findings) == [("table", "rpg_x", "rpg")]


def test_the_longest_prefix_wins(operator: Operator) -> None:
    """A service whose prefix begins with another's keeps its own."""
    operator.execute("create table rpg_items_x (id int); create table rpg_x (id int)")
    environ = operator.registry(("rpg", RPG_DB, ["rpg_"]), ("items", "gaqno_ai_db", ["rpg_items_"]))
    answer = operator.run(
        "verify",
        "--json",
        "--service",
        "rpg",
        "--service",
        "items",
        *(w for n in SERVICES.values() for w in ("--ignore", n)),
        environ=environ,
    )

    assert named(answer.findings) == [
        ("table", "rpg_items_x", "items"),
        ("table", "rpg_x", "rpg"),
    ]


NINE = [
    f"gaqno_{name}_db"
    for name in ["crm", "dropshipping", "hr", "lead", "mail", "pms", "shop", "wallet", "web"]
]


def test_databases_that_the_registry_lacks(operator: Operator) -> None:
    """Fifteen where the shipped registry has six: nine notices, and each remedy clears them."""
    for name in NINE:
        create_database(operator.server, name)
    operator.execute("create table outbox (id int)", "gaqno_shop_db")
    file = operator.directory / "entrypoint.toml"

    told = operator.run("verify", "--json")
    file.write_text(f"[verify]\nignore = {json.dumps(NINE)}\n")
    ignored = operator.run("verify", "--json", "--strict")
    rows = {name: f"gaqno-{name.split('_')[1]}-service" for name in NINE}
    rows |= {database: service for service, database in SERVICES.items()}
    text = "".join(
        f'[{service}]\ndatabase = "{name}"\nprefixes = ["{name.split("_")[1]}_"]\n'
        f'names = ["outbox"]\n'
        for name, service in rows.items()
    )
    (operator.directory / "team.toml").write_text(text)
    file.write_text('services = "team.toml"\n')
    listed = operator.run("verify", "--json", "--strict")
    status = operator.run("status", "--json")

    assert (told.code, told.kinds()) == (0, ["database_unclaimed"] * 9)
    assert {f["remedy"] for f in told.findings} == {
        "Add the database to the registry or to verify.ignore, or drop it."
    }
    assert (ignored.code, ignored.findings) == (0, [])
    assert (listed.code, listed.findings) == (0, [])
    assert sorted(listed.json["databases"]) == sorted(["postgres", *rows])
    assert {row["database"] for row in status.rows} == {*rows}


def test_a_registry_that_is_refused(operator: Operator) -> None:
    """Every command ends with exit code 3 and all that is wrong, by the key or the variable."""
    (operator.directory / "entrypoint.toml").write_text('services = "team.toml"\n')
    text = "a = { database = 'x', prefixes = ['p_'] }\nb = { database = 'x', prefixes = ['p_'] }\n"
    (operator.directory / "team.toml").write_text(text)
    for command in ("verify", "status", "create"):
        answer = operator.run(command)
        assert answer.code == 3
        assert answer.failed()["problems"] == [
            "entrypoint.toml: services 'team.toml': b: database 'x' is also a's",
            "entrypoint.toml: services 'team.toml': b: prefix 'p_' is also a's",
        ]
        by_variable = operator.run(command, environ={"ENTRYPOINT_SERVICES": "none.toml"})
        assert by_variable.failed()["error"].startswith("ENTRYPOINT_SERVICES: No such file")
        assert operator.run(command, environ={"ENTRYPOINT_SERVICES": "none"}).code == 0


def test_databases_of_transfers(operator: Operator) -> None:
    """What a move or an undo puts aside, or fills, is known as its service's, by its whole name."""
    long = "d" * 63
    environ = operator.registry(("demo", long, []), ("rpg", RPG_DB, []))
    names = {
        f"{RPG_DB}__undone": "rpg",
        f"{RPG_DB}__replaced_2": "rpg",
        f"{RPG_DB}__incoming": "rpg",
        f"{RPG_DB}__rehearsal_1f_62a": "rpg",
        f"{'d' * 55}__undone": "demo",
        f"{RPG_DB}__undone_": None,
        f"{RPG_DB}__rehearsal_x_y": None,
        "others__undone": None,
    }
    for name in names:
        operator.execute(f'create database "{name}"')
    answer = operator.run("verify", "--json", environ=environ)
    found = {f["database"]: f for f in answer.findings if f["database"] in names}
    assert {name: f["service"] for name, f in found.items()} == names
    kinds = {f["finding"] for f in found.values() if f["service"]}
    assert kinds == {"transfer_database"}
    remedy = found[f"{RPG_DB}__undone"]["remedy"]
    operator.execute(remedy.partition(", run ")[2].removesuffix("."))
    left = operator.run("verify", "--json", environ=environ).findings
    assert f"{RPG_DB}__undone" not in [f["database"] for f in left]


def test_a_mark_is_asked_before_a_name(operator: Operator) -> None:
    """Of two services whose long names begin alike, one's is not called the other's."""
    first, second = "d" * 63, "d" * 62 + "e"
    environ = operator.registry(("demo", first, []), ("twin", second, []))
    name = "d" * 55 + "__undone"
    put_aside(operator.server, second, name)
    answer = operator.run("verify", "--json", environ=environ)
    [found] = [each for each in answer.findings if each["database"] == name]
    assert found["service"] == "twin"
    assert "twin --drop-aside" in found["remedy"]
    rows = {
        each["service"]: each["put_aside"]
        for each in operator.run("status", "--json", environ=environ).rows
    }
    assert rows == {"demo": [], "twin": [name]}


def test_bookkeeping_of_one_s_own(operator: Operator) -> None:
    """`verify.bookkeeping` replaces the list, in the file or in its variable."""
    operator.execute(
        "create table pgmigrations (id int); create schema app; create table app.log (id int);"
        "create table log (id int); create table mine (id int)"
    )
    (operator.directory / "entrypoint.toml").write_text(
        '[verify]\nbookkeeping = ["app.log", "mine"]\n'
    )
    answer = operator.run("verify", "--json")
    assert [f["object"] for f in answer.findings] == ["log", "pgmigrations"]

    answer = operator.run("verify", "--json", environ={"ENTRYPOINT_VERIFY_BOOKKEEPING": "log"})
    assert [f["object"] for f in answer.findings] == ["mine", "pgmigrations"]


def test_bookkeeping_by_its_columns(operator: Operator) -> None:
    """A table `migrations` is TypeORM's with its columns, and anybody's with others."""
    operator.execute(
        "create table migrations (id serial, timestamp bigint, old int, name varchar);"
        "alter table migrations drop old;"
        "create schema birds; create table birds.migrations (id int, species text)"
    )
    answer = operator.run("verify", "--json")
    assert [f["object"] for f in answer.findings] == ["birds.migrations"]


def test_one_service_only(strewn: Operator) -> None:
    """`--service` looks at its database, and at the strays in `postgres` that are its own."""
    strewn.execute("create table sso_x (id int)", RPG_DB)
    create_database(strewn.server, "unclaimed")

    answer = strewn.run("verify", "--json", "--service", RPG)

    assert answer.json["databases"] == ["postgres", RPG_DB]
    in_postgres = [f for f in answer.findings if f["database"] == "postgres"]
    assert {f["service"] for f in in_postgres} == {RPG}
    assert len(in_postgres) == 1 + sum(s.service == RPG for s in STRAYS)
    assert [f["object"] for f in answer.findings if f["database"] == RPG_DB] == ["sso_x"]
    assert "database_unclaimed" not in answer.kinds()


def test_a_service_that_is_named_twice(operator: Operator) -> None:
    """Is asked for once: one row, and still not the whole server."""
    environ = operator.registry(("rpg", RPG_DB, ["rpg_"]), ("sso", "gaqno_sso_db", ["sso_"]))
    twice = ["--service", "rpg", "--service", "rpg"]

    answer = operator.run("verify", "--json", *twice, environ=environ)
    assert (answer.json["databases"], answer.findings) == (["postgres", RPG_DB], [])
    assert len(operator.run("status", "--json", *twice, environ=environ).rows) == 1
    assert len(operator.run("create", "--json", *twice, environ=environ).json["databases"]) == 1


LIES = """
create function public."left"(name, int) returns text language plpgsql as
  $$ begin raise exception 'run as %', current_user; end $$;
create function public.pg_get_userbyid(oid) returns name language plpgsql as
  $$ begin raise exception 'run as %', current_user; end $$;
create function public.starts_with(name, text) returns bool language plpgsql as
  $$ begin raise exception 'run as %', current_user; end $$;
"""


@pytest.mark.parametrize("database", ["postgres", RPG_DB])
def test_nobody_s_functions_are_run(operator: Operator, database: str) -> None:
    """Whoever may create one that looks like the server's own does not become the operator."""
    operator.execute(
        f"{LIES} alter database {database} set search_path = public, pg_catalog", database
    )
    answers = [operator.run(word, "--json", "--service", RPG) for word in ("verify", "status")]

    assert answers[0].json["failures"] == []
    assert [answer.code for answer in answers] == [0, 0]
    assert operator.run("create", "--service", RPG).code == 0


@pytest.mark.parametrize("command", ["verify", "status"])
def test_nobody_s_operators_are_run(operator: Operator, command: str) -> None:
    """A service's role that owns its database does not become what the operator is."""
    operator.execute(
        "create schema evil; create function evil.equal(text, text) returns bool language plpgsql"
        " as $$ begin raise exception 'run as %', current_user; end $$;"
        "create operator evil.= (leftarg = text, rightarg = text, function = evil.equal);"
        f"alter database {RPG_DB} set search_path = evil, pg_catalog",
        RPG_DB,
    )
    assert operator.run(command, "--service", RPG).code == 0


NOTE = '"service": {}, "database": "d", "origin": "public", "at": "2026-01-02T03:04:05Z"'


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "x",
        "{}",
        "[]",
        "{" + NOTE.format("[]") + "}",
        "{" + NOTE.format("1") + "}",
        "{" + NOTE.format('"\\ud800"') + "}",
        "[" * 5000,
    ],
    ids=lambda comment: comment[:16],
)
def test_who_only_says_that_it_is_a_quarantine(operator: Operator, comment: str) -> None:
    """A schema whose comment is none of a transfer's hides nothing, and stops nothing."""
    for database in ("postgres", RPG_DB):
        operator.execute(
            "create schema moved; create table moved.sso_x (id int);"
            f"comment on schema moved is 'entrypoint moved: {comment}'",
            database,
        )
    answer = operator.run("verify", "--json")

    assert answer.code == 9
    assert [f["object"] for f in answer.findings] == ["moved.sso_x", "moved.sso_x"]


@pytest.mark.parametrize("service", [RPG, "a service of the past", "x; touch /tmp/pwned #"])
def test_a_quarantine(operator: Operator, service: str) -> None:
    """What a transfer moved is one notice, whoever it belonged to; the remedy removes it."""
    known = service == RPG
    note = "{" + NOTE.format(f'"{service}"') + "}"
    operator.execute(
        "create schema moved; create table moved.rpg_x (id int);"
        f"comment on schema moved is 'entrypoint moved: {note}'"
    )
    answer = operator.run("verify", "--json")

    assert [(f["level"], f["finding"], f["service"]) for f in answer.findings] == [
        ("notice", "quarantine", service if known else None)
    ]
    assert answer.code == 0
    remedy = answer.findings[0]["remedy"]
    assert (f"Run entrypoint transfer {service} --drop-quarantine once" in remedy) is known
    assert (service in remedy) is known
    narrowed = operator.run("verify", "--json", "--service", "gaqno-sso-service")
    assert (narrowed.code, narrowed.findings) == (0, [])
    if not known:
        operator.execute(remedy.partition("run ")[2].removesuffix("."))
        assert operator.run("verify", "--json").findings == []


def test_sorting(operator: Operator) -> None:
    """By database and level, by size or by name, in the pipe's lines and in JSON."""
    operator.execute("create table rpg_b (id int); create table rpg_c (id int)")
    operator.execute("create table sso_a as select generate_series(1, 100000) as id", RPG_DB)
    operator.execute("insert into rpg_c select generate_series(1, 10000); create table odd (a int)")

    def order(*words: str) -> list[str]:
        data = [f["object"] for f in operator.run("verify", "--json", *words).findings]
        text = operator.run("verify", *words).out
        lines = [re.split(r" {2,}", line) for line in text.splitlines()]
        shown = [cells[2].removeprefix("table ") for cells in lines if cells[0] == "misplaced"]
        assert shown == data
        return data

    assert order() == order("--sort", "database")
    assert order()[-1] == "sso_a"
    assert order("--sort", "size")[:2] == ["sso_a", "rpg_c"]
    assert order("--sort", "name") == ["odd", "rpg_b", "rpg_c", "sso_a"]
