"""Whatever needs something on the other side is named, and when agreed to, what is said happens."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.operator.transfer.conftest import RPG_DB, World, allowing, newest
from tests.support import versions
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROLES = "create role rpg_owner login password 'x'; create role sso_owner login password 'x'"

BACK = """
create schema game; grant all on schema public, game to rpg_owner, sso_owner;
set role rpg_owner;
create table rpg_items (id serial primary key, name text);
insert into rpg_items (name) values ('one'), ('two');
create type rpg_rarity as enum ('common', 'rare');
alter table rpg_items add rarity rpg_rarity default 'rare';
create sequence rpg_no;
create function rpg_slug(text) returns text language sql immutable as 'select lower($1)';
create function rpg_stamp() returns trigger language plpgsql as
  $$begin new.name := rpg_slug(new.name); return new; end$$;
create function rpg_log() returns trigger language plpgsql as
  $$begin insert into rpg_items (name) values (new.name); return null; end$$;
create function rpg_alone() returns int language sql as 'select 1';
grant select, references on rpg_items to sso_owner;
grant insert on rpg_items to sso_owner;
grant usage on sequence rpg_no, rpg_items_id_seq to sso_owner;
reset role; set role sso_owner;
create table sso_users (id int primary key, name text);
create table sso_logged (name text);
create table sso_code (v text);
create table sso_kinds (rarity rpg_rarity);
create table sso_fk (item int, constraint user_fk foreign key (item) references rpg_items);
create table sso_fk2 (item int, constraint user_fk foreign key (item) references rpg_items);
create table sso_seq (id int default nextval('rpg_no'),
  other int default nextval('rpg_items_id_seq'));
create table sso_late (id int default nextval('rpg_no'::text::regclass));
create table sso_gen (v text, slug text generated always as (rpg_slug(v)) stored);
create table sso_check (v text, constraint slugged check (rpg_slug(v) = v));
create table sso_row (item rpg_items);
create table sso_guarded (id int);
insert into sso_guarded values (1), (99);
create table sso_ruled (name text);
create index sso_slug on sso_code (rpg_slug(v));
create trigger stamp before insert on sso_users for each row execute function rpg_stamp();
create trigger logs after insert on sso_logged for each row execute function rpg_log();
alter table sso_guarded enable row level security, force row level security;
create policy seen on sso_guarded
  using (exists (select from rpg_items i where i.id = sso_guarded.id));
create rule also as on insert to sso_ruled do also insert into rpg_items (name) values (new.name);
create view sso_view as select name from rpg_items;
create function count_items() returns bigint language sql
  begin atomic select count(*) from rpg_items; end;
create function names_items() returns bigint language plpgsql as
  $$begin return (select count(*) from rpg_items); end$$;
create function sso_mentions() returns int language sql as
  $$select 1 -- not rpg_items, nor /* rpg_slug(x) */$$;
reset role
"""

BACK_NAMES = {
    "trigger:sso_users.stamp",
    "trigger:sso_logged.logs",
    "function:public.rpg_log()",
    "column:sso_kinds.rarity",
    "fk:sso_fk.user_fk",
    "fk:sso_fk2.user_fk",
    "default:sso_seq.id",
    "default:sso_seq.other",
    "default:sso_late.id",
    "generated:sso_gen.slug",
    "check:sso_check.slugged",
    "column:sso_row.item",
    "index:sso_code.sso_slug",
    "policy:sso_guarded.seen",
    "rule:sso_ruled.also",
    "view:sso_view",
    "function:public.count_items()",
    "function:public.names_items()",
}

WORKS = {
    "insert into sso_users values (1, 'ADA') returning name": "ada",
    "insert into sso_code values ('X') returning v": "X",
    "insert into sso_kinds values ('rare') returning rarity::text": "rare",
    "insert into sso_fk values (1) returning item": 1,
    "insert into sso_fk2 values (2) returning item": 2,
    "insert into sso_seq default values returning id": 1,
    "insert into sso_gen values ('AB') returning slug": "ab",
    "insert into sso_check values ('ab') returning v": "ab",
    "insert into sso_row values (row(7, 'x', 'rare')) returning (item).id": 7,
    "select count(*) from sso_guarded": 1,
    "select count(*) from sso_view": 2,
    "select count_items()": 2,
    "select rpg_slug('A')": "a",
    "select 'common'::rpg_rarity::text": "common",
    "select sso_mentions()": 1,
}
"""What the service that stays does as its plain role, with its answers."""

FAILS = {
    "insert into sso_fk values (99)": psycopg.errors.ForeignKeyViolation,
    "insert into sso_logged values ('x')": psycopg.errors.UndefinedTable,
    "select names_items()": psycopg.errors.UndefinedTable,
    "insert into sso_late default values": psycopg.errors.UndefinedTable,
}
"""What was said to fail, and what should."""

OUT = """
create table sso_users (id int primary key, name text);
create sequence shared_no; create table sso_numbers (id int default nextval('shared_no'));
create function sso_pair(sso_users) returns bool language sql immutable as 'select true';
create table rpg_t (id int primary key default nextval('shared_no'), name text,
  user_id int constraint user_fk references sso_users);
comment on constraint user_fk on rpg_t is 'there';
create table rpg_u (id int, user_id int, constraint user_fk foreign key (user_id) references rpg_t);
comment on constraint user_fk on rpg_u is 'mine';
insert into rpg_t (name) values ('one');
create policy seen on rpg_t using (exists (select from sso_users where name = rpg_t.name));
create rule also as on insert to rpg_t do also insert into sso_users values (new.id, new.name);
create view rpg_v as select name from sso_users;
create view rpg_v2 as select * from rpg_v;
create rule v_ins as on insert to rpg_v2 do instead nothing;
create function rpg_sees(sso_users) returns bool language sql as 'select true';
create function rpg_sees(int) returns bool language sql as 'select true';
comment on function rpg_sees(int) is 'kept'; comment on function rpg_sees(sso_users) is 'lost';
create function rpg_asks() returns bigint language plpgsql as
  $$begin return (select count(*) from sso_users); end$$;
create function all_pairs(sso_users, sso_users) returns bool language sql as 'select true';
create operator @@@ (leftarg = sso_users, rightarg = sso_users, function = all_pairs);
create function as_text(sso_users) returns text language sql as 'select $1.name';
create cast (sso_users as text) with function as_text(sso_users)
"""

OUT_NAMES = {
    "fk:rpg_t.user_fk",
    "default:rpg_t.id",
    "policy:rpg_t.seen",
    "rule:rpg_t.also",
    "view:rpg_v",
    "view:rpg_v2",
    "function:public.rpg_sees(public.sso_users)",
    "function:public.rpg_asks()",
}

INLINE = """
create table sso_users (id int primary key, name text);
create table sso_base (id int);
create function sso_pick(sso_users) returns int language sql immutable as 'select 1';
create table rpg_row (u sso_users);
create table rpg_def (id int default sso_pick(null));
create table rpg_chk (id int, constraint odd check (sso_pick(null) = id));
create table rpg_gen (id int, g int generated always as (id + sso_pick(null)) stored);
create table rpg_kid () inherits (sso_base)
"""

INLINE_NAMES = {
    "column:rpg_row.u",
    "default:rpg_def.id",
    "check:rpg_chk.odd",
    "generated:rpg_gen.g",
    "inherits:rpg_kid",
}

FOLLOW = """
create type mood as enum ('sad', 'ok'); create domain word as text check (value <> '');
create type pair as (a word, b mood); create sequence counts;
create function touched() returns trigger language plpgsql as
  $$begin new.v := (row('x', 'ok'))::pair; return new; end$$;
create function helper() returns int language sql as 'select 1';
create table rpg_t (id int default nextval('counts'), v pair);
create trigger touch before insert on rpg_t for each row execute function touched();
insert into rpg_t values (default, null), (default, null)
"""


class Newest(World):
    """A world with the clients of the newest version."""

    @property
    def tools(self) -> Path:
        """Where they are."""
        return newest()


@pytest.fixture(scope="module", params=[15, 18])
def graph(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A server of each version, whose `postgres` every test empties before it begins."""
    if not versions.available(request.param):
        pytest.skip(versions.NO_NPM)
    with ExitStack() as stack:
        server = stack.enter_context(Server.start(prefix=versions.prefix(request.param)))
        made = Newest.on(server, tmp_path_factory.mktemp(f"graph{request.param}"))
        stack.callback(made.close)
        made.sql(ROLES)
        yield made


@pytest.fixture
def empty(graph: World) -> World:
    """The same with nothing in it."""
    for name in graph.databases() - {"postgres"}:
        graph.sql(f"drop database {name} with (force)")
    graph.sql("drop owned by rpg_owner cascade; drop owned by sso_owner cascade")
    for (name,) in graph.sql("select nspname from pg_namespace where nspname !~ '^(pg_|info)'"):
        graph.sql(f"drop schema {name} cascade")
    graph.sql("create schema public; grant usage on schema public to public")
    for (name,) in graph.sql("select pubname from pg_publication"):
        graph.sql(f"drop publication {name}")
    return graph


def planned(world: World, *words: str) -> dict[str, bool]:
    """The obstacles of a plan by name, and whether they can be agreed to."""
    plan = world.transfer("--dry-run", "--json", *words).json
    names = [each["name"] for each in plan["obstacles"]]
    assert len({*names}) == len(names)
    return {each["name"]: each["allowable"] for each in plan["obstacles"]}


def test_what_stays_works_on_as_was_said(empty: World) -> None:
    """Each use of what moves is an obstacle of its own; agreed to, the sentence comes true."""
    empty.sql(BACK)
    before = empty.dump("postgres")
    assert planned(empty) == dict.fromkeys(BACK_NAMES, True)
    moved = empty.moved(*allowing(*BACK_NAMES))
    with psycopg.connect(empty.server.url("postgres", "sso_owner", "x"), autocommit=True) as role:
        for statement, answer in WORKS.items():
            assert role.execute(statement.encode()).fetchall() == [(answer,)], statement
        role.execute("insert into sso_ruled values ('x')")
        for statement, error in FAILS.items():
            with pytest.raises(error):
                role.execute(statement.encode())
    in_quarantine = "select count(*) from moved_gaqno_rpg_db_public.rpg_items"
    assert empty.value(in_quarantine) == 3  # the rule's row
    assert empty.value("select count(*) from rpg_items", RPG_DB) == 2
    assert empty.value("select rpg_slug('A')", RPG_DB) == "a"
    assert empty.sql(
        "insert into rpg_items (name) values ('x') returning rarity::text", RPG_DB
    ) == [("rare",)]
    assert moved["left_out"]
    refused = empty.transfer("--drop-quarantine")
    assert refused.code == 10
    assert "sso_fk" in refused.err
    empty.sql("delete from moved_gaqno_rpg_db_public.rpg_items where id > 2")
    empty.sql("truncate sso_users, sso_code, sso_kinds, sso_fk, sso_fk2, sso_seq, sso_gen")
    empty.sql("truncate sso_check, sso_row, sso_ruled")
    for name in ("rpg_no", "rpg_items_id_seq"):
        empty.sql(f"alter sequence moved_gaqno_rpg_db_public.{name} restart")
    empty.sql("select setval('moved_gaqno_rpg_db_public.rpg_items_id_seq', 2)")
    assert empty.transfer("--undo").code == 0
    assert empty.dump("postgres") == before


def test_the_target_gets_all_but_what_was_said(empty: World) -> None:
    """What needs another's is left out of the target with its comments, and nothing else is."""
    empty.sql(OUT)
    before = empty.dump("postgres")
    assert planned(empty) == dict.fromkeys(OUT_NAMES, True)
    moved = empty.moved("--allow", "all")
    left = " ".join(moved["left_out"])
    for name in ("user_fk", "seen", "also", "rpg_v2", "v_ins", "@@@", "CAST", "as_text"):
        assert name in left, left
    comments = "select description from pg_description where objoid >= 16384"
    assert {text for (text,) in empty.sql(comments, RPG_DB)} >= {"mine", "kept"}
    assert not {text for (text,) in empty.sql(comments, RPG_DB)} & {"there", "lost"}
    assert empty.sql(
        "select conrelid::regclass::text from pg_constraint where contype = 'f'", RPG_DB
    ) == [("rpg_u",)]
    assert empty.value("select rpg_sees(1)", RPG_DB) is True
    assert empty.sql("insert into rpg_t (name) values ('two') returning id", RPG_DB) == [(2,)]
    with pytest.raises(psycopg.errors.UndefinedTable):
        empty.sql("select rpg_asks()", RPG_DB)
    assert empty.value("select null::sso_users @@@ null::sso_users") is True
    assert empty.transfer("--undo").code == 0
    assert empty.dump("postgres") == before


def test_what_a_table_cannot_be_without_is_refused(empty: World) -> None:
    """Columns, defaults, checks and parents that stay are refused; named by --with, all moves."""
    empty.sql(INLINE)
    assert planned(empty) == dict.fromkeys(INLINE_NAMES, False)
    refused = empty.transfer("--allow", "all")
    assert refused.code == 10
    assert {*refused.obstacles} == INLINE_NAMES
    assert empty.databases() == {"postgres"}
    empty.moved("--with", "sso_users", "--with", "sso_base", "--allow", "all")
    assert empty.sql("select 1 from pg_tables where tablename = 'rpg_kid'", RPG_DB) == [(1,)]


def test_a_table_with_rules_is_a_table(empty: World) -> None:
    """It moves with its rules, whatever they do instead, and nothing is in the way."""
    empty.sql(
        "create table rpg_log (id int); create table rpg_copy (id int);"
        "create rule also as on insert to rpg_log do also insert into rpg_copy values (new.id);"
        "create rule never as on delete to rpg_log do instead nothing;"
        "insert into rpg_log values (1)"
    )
    assert planned(empty) == {}
    empty.moved()
    empty.sql("insert into rpg_log values (2); delete from rpg_log", RPG_DB)
    assert empty.sql("select id from rpg_log order by 1", RPG_DB) == [(1,), (2,)]
    assert empty.sql("select id from rpg_copy order by 1", RPG_DB) == [(1,), (2,)]


def test_what_only_the_service_uses_moves_with_it(empty: World) -> None:
    """Unclaimed types, domains, sequences and trigger functions go to the quarantine, and back."""
    empty.sql(FOLLOW)
    before = empty.dump("postgres")
    assert planned(empty) == {}
    empty.moved()
    public = "'public'::regnamespace"
    left = (
        f"select relname from pg_class where relnamespace = {public} union all "  # noqa: S608  our own
        f"select typname from pg_type where typnamespace = {public} union all "
        f"select proname from pg_proc where pronamespace = {public}"
    )
    assert empty.sql(left) == [("helper",)]
    assert empty.value("insert into rpg_t default values returning id", RPG_DB) == 3
    assert empty.transfer("--undo").code == 0
    assert empty.dump("postgres") == before


def test_an_owner_moves_what_is_its_own_and_copies_the_rest(empty: World) -> None:
    """A plain role takes a copy of an unclaimed type that is another's."""
    empty.sql("alter role rpg_owner createdb; grant create on database postgres to rpg_owner")
    empty.sql("grant create on schema public to rpg_owner")
    empty.sql(
        "create type mood as enum ('ok'); set role rpg_owner; create type taste as enum ('a');"
        "create table rpg_t (m mood, t taste); reset role"
    )
    url = empty.server.url("postgres", "rpg_owner", "x")
    done = empty.transfer("--json", environ={"DATABASE_URL": url})
    assert done.code == 0, done.err
    assert empty.value("select 'ok'::mood::text") == "ok"
    with pytest.raises(psycopg.errors.UndefinedObject):
        empty.sql("select 'a'::taste")


def test_an_owner_moves_operators_and_casts(empty: World) -> None:
    """A plain role needs no more for them; what another made for the service is told."""
    empty.sql("alter role rpg_owner createdb; grant create on database postgres to rpg_owner")
    empty.sql("grant create on schema public to rpg_owner")
    empty.sql(
        "create text search configuration rpg_words (copy = pg_catalog.simple);"
        "set role rpg_owner; create type mood as (n int);"
        "create function same(mood, mood) returns bool language sql as 'select true';"
        "create operator === (leftarg = mood, rightarg = mood, function = same);"
        "create function shown(mood) returns text language sql as $$select 'm'::text$$;"
        "create cast (mood as text) with function shown(mood);"
        "create table rpg_t (m mood); insert into rpg_t values (row(1)); reset role"
    )
    environ = {"DATABASE_URL": empty.server.url("postgres", "rpg_owner", "x")}
    refused = empty.transfer(environ=environ)
    assert refused.code == 5
    owned = 'ALTER TEXT SEARCH CONFIGURATION public.rpg_words OWNER TO "rpg_owner"'
    assert refused.failed()["remedy"] == f"Run {owned}."
    empty.sql(owned)
    before = empty.dump("postgres")
    assert empty.transfer("--json", environ=environ).code == 0
    assert empty.sql("select m === m, m::text from rpg_t", RPG_DB) == [(True, "m")]
    left = "select 1 from pg_operator where oprnamespace = 'public'::regnamespace"
    assert empty.sql(left) == []
    assert empty.transfer("--undo", environ=environ).code == 0
    assert empty.dump("postgres") == before


def test_whoever_publishes_it_is_told(empty: World) -> None:
    """A table that is published by name, by schema or with all of them is an obstacle of each."""
    empty.sql(
        "create table rpg_t (id int primary key); create table sso_t (id int primary key);"
        "create publication one for table rpg_t, sso_t; create publication every for all tables;"
        "create publication spaces for tables in schema public;"
        "create publication other for table sso_t"
    )
    before = empty.dump("postgres")
    names = {"publication:one", "publication:every", "publication:spaces"}
    assert planned(empty) == dict.fromkeys(names, True)
    empty.moved("--allow", "all")
    published = "select pubname, tablename from pg_publication_tables order by 1, 2"
    assert empty.sql(published, RPG_DB) == [
        ("every", "rpg_t"),
        ("one", "rpg_t"),
        ("spaces", "rpg_t"),
    ]
    assert ("other", "sso_t") in empty.sql(published)
    assert empty.transfer("--undo").code == 0
    assert empty.dump("postgres") == before


def test_a_subscription_is_not_doubled(empty: World) -> None:
    """One that fills what moves is refused, with a remedy that works; another one only stays."""
    empty.sql(
        "create table rpg_t (id int primary key); create table sso_t (id int primary key);"
        "create subscription fills connection 'dbname=nowhere' publication p"
        " with (connect = false);"
        "set allow_system_table_mods = on;"
        "insert into pg_subscription_rel (srsubid, srrelid, srsubstate)"
        " select oid, 'rpg_t'::regclass, 'r' from pg_subscription"
    )
    try:
        assert planned(empty) == {"subscription:fills": False}
        assert empty.transfer("--allow", "all").code == 10
        empty.sql(
            "set allow_system_table_mods = on;"
            "update pg_subscription_rel set srrelid = 'sso_t'::regclass"
        )
        empty.moved()
        assert empty.sql("select subname from pg_subscription") == [("fills",)]
    finally:
        empty.sql("alter subscription fills set (slot_name = none)")
        empty.sql("drop subscription fills")


LOOKED_UP = """
create table rpg_items (id serial primary key, name text);
create table sso_users (id serial primary key, name text);
create table sso_of (kind text);
create function sso_log() returns trigger language plpgsql as
  $$begin execute format('insert into %I (name) values (1)', tg_argv[1]); return new; end$$;
create trigger logs after insert on sso_users for each row
  execute function sso_log('x', 'rpg_items');
create trigger asks after delete on sso_users for each row
  when (to_regclass('rpg_items') is null) execute function sso_log('x', 'sso_of');
create view sso_there as select to_regclass('public.rpg_items') is not null as there;
create view sso_serial as select pg_get_serial_sequence('rpg_items', 'id');
create view sso_cast as select ('rpg_items'::text)::regclass::text;
create view sso_type as select ('rpg_items'::text)::regtype::text;
create view sso_kind as select * from sso_of where kind = 'rpg_items';
create domain sso_named as text default ('rpg_items'::text)::regclass::text;
create domain sso_checked as text check (value <> (to_regclass('rpg_items'))::text);
create function sso_default(a text default ('rpg_items'::text)::regclass::text) returns text
  language sql as 'select a';
create function sso_atomic() returns boolean language sql
  begin atomic select to_regclass('rpg_items') is not null; end;
create rule asks as on update to sso_of do also select has_table_privilege('rpg_items', 'select');
"""


def test_a_name_in_a_text_is_found_wherever_it_is_looked_up(empty: World) -> None:
    """In views, rules, triggers, domains, defaults of arguments: what is only compared is none."""
    empty.sql(LOOKED_UP)
    assert planned(empty) == dict.fromkeys(
        (
            "domain:public.sso_checked",
            "domain:public.sso_named",
            "function:public.sso_atomic()",
            "function:public.sso_default(a text)",
            "rule:sso_of.asks",
            "trigger:sso_users.asks",
            "trigger:sso_users.logs",
            "view:sso_cast",
            "view:sso_serial",
            "view:sso_there",
            "view:sso_type",
        ),
        True,
    )
    empty.moved("--allow", "all")
    assert empty.value("table sso_there") is False
    with pytest.raises(psycopg.errors.UndefinedTable):
        empty.sql("insert into sso_users (name) values ('x')")


def test_a_kind_that_nobody_knows_is_refused(empty: World) -> None:
    """A table in an access method of one's own is refused in the server's words."""
    empty.sql(
        "create access method heap2 type table handler heap_tableam_handler;"
        "create table rpg_t (id int) using heap2; create table sso_t (id int) using heap2"
    )
    try:
        assert planned(empty) == {"unknown:access method heap2": False}
        assert empty.transfer("--allow", "all").code == 10
    finally:
        empty.sql("drop access method heap2 cascade")


def test_a_name_that_agrees_to_nothing_is_refused(empty: World) -> None:
    """A misspelt --allow ends before anything is made, and the nearest name is told."""
    empty.sql("create table rpg_t (id int); create view sso_v as select * from rpg_t")
    for words in ((), ("--dry-run",)):
        refused = empty.transfer("--allow", "view:sso_w", *words)
        assert refused.code == 10
        assert "view:sso_w" in refused.failed()["error"]
        assert "the nearest is view:sso_v" in refused.failed()["error"]
    assert empty.databases() == {"postgres"}
    empty.moved("--allow", "view:sso_v")


def test_an_extension_that_nothing_needs_stays(empty: World) -> None:
    """One that a body calls goes along, one that nothing needs does by --with only."""
    empty.sql(
        "create extension hstore; create extension pg_trgm; create table rpg_t (id int);"
        "create function rpg_f() returns text language plpgsql as"
        " $$begin return akeys('a=>1'); end$$"
    )
    plan = empty.transfer("--dry-run", "--json").json
    assert plan["extensions"] == ["hstore"]
    plan = empty.transfer("--dry-run", "--json", "--with", "pg_trgm").json
    assert plan["extensions"] == ["hstore", "pg_trgm"]


PARTED = """
create table sso_users (id int primary key, region text);
create function sso_fold(sso_users) returns text language sql immutable as 'select $1.region';
create function sso_same(text) returns text language sql immutable as
  'select public.sso_fold(row(1, $1)::public.sso_users)';
create function rpg_fold(text, sso_users default null) returns text language sql immutable as
  'select lower($1)';
create table rpg_t (id int, region text, user_id int constraint user_fk references sso_users)
  partition by list (region);
create table rpg_eu partition of rpg_t for values in ('eu');
create table old_us partition of rpg_t for values in ('us');
create index rpg_folded on rpg_t (rpg_fold(region));
comment on index rpg_folded is 'of all';
create table rpg_fenced (id int, region text,
  constraint fenced exclude using btree (rpg_fold(region) with =));
comment on constraint fenced on rpg_fenced is 'fence';
create statistics rpg_stat on (rpg_fold(region)), id from rpg_t;
create function noted() returns trigger language plpgsql as $$begin return new; end$$;
create trigger noted after insert on rpg_t for each row
  when (public.rpg_fold(new.region) <> '') execute function noted();
insert into rpg_t values (1, 'eu', null), (2, 'us', null);
insert into rpg_fenced values (1, 'a')
"""


def test_what_partitions_have_in_common_is_left_out_of_all(empty: World) -> None:
    """Foreign keys and triggers are told once; indexes go with those of the partitions."""
    empty.sql(PARTED)
    before = empty.dump("postgres")
    names = planned(empty)
    assert names.keys() >= {
        "fk:rpg_t.user_fk",
        "trigger:rpg_t.noted",
        "index:rpg_t.rpg_folded",
        "index:rpg_fenced.fenced",
        "statistics:rpg_t.rpg_stat",
    }
    assert {name for name in names if name.startswith(("fk:", "trigger:"))} == {
        "fk:rpg_t.user_fk",
        "trigger:rpg_t.noted",
    }
    empty.moved("--allow", "all")
    assert empty.sql("select conname from pg_constraint where contype in ('f', 'x')", RPG_DB) == []
    assert empty.sql("select tgname from pg_trigger where not tgisinternal", RPG_DB) == []
    assert empty.sql("select from pg_index where indrelid::regclass::text ~ 'rpg_'", RPG_DB) == []
    assert empty.value("select count(*) from rpg_t", RPG_DB) == 2
    assert empty.transfer("--undo").code == 0
    assert empty.dump("postgres") == before


RARE = """
create table rpg_items (id int primary key, name text);
insert into rpg_items values (1, 'one');
create function rpg_ok(text) returns bool language sql immutable as 'select $1 <> ''''';
create function rpg_add(int, int) returns int language sql immutable as 'select $1 + $2';
create function rpg_ddl() returns event_trigger language plpgsql as $$begin end$$;
create type rpg_pair as (a int, b text);
create type rpg_span as range (subtype = float8);
create function rpg_cmp(rpg_pair, rpg_pair) returns int language sql immutable as
  'select ($1).a - ($2).a';
create domain sso_word as text check (rpg_ok(value));
create aggregate sso_sum(int) (sfunc = rpg_add, stype = int, initcond = '0');
create event trigger watch on ddl_command_end when tag in ('CREATE CAST')
  execute function rpg_ddl();
create table sso_many (pairs rpg_pair[], items rpg_items[], span rpg_span, spans rpg_span[]);
create table sso_parted (v text) partition by list ((rpg_ok(v)::text));
create materialized view sso_seen as select name from rpg_items;
create view sso_doors as select 1 as id;
create function rpg_door() returns trigger language plpgsql as $$begin return null; end$$;
create trigger enters instead of insert on sso_doors for each row execute function rpg_door();
create table sso_stats (v text, w text);
create statistics sso_both on (rpg_ok(v)), w from sso_stats
"""

RARE_NAMES = {
    "domain:public.sso_word",
    "aggregate:public.sso_sum(integer)",
    "event_trigger:watch",
    "column:sso_many.pairs",
    "column:sso_many.items",
    "column:sso_many.span",
    "column:sso_many.spans",
    "table:sso_parted",
    "view:sso_seen",
    "trigger:sso_doors.enters",
    "statistics:sso_stats.sso_both",
}


def test_the_rarer_kinds_work_on_too(empty: World) -> None:
    """Domains, aggregates, arrays, ranges, partition keys, statistics: each is told, and works."""
    empty.sql(RARE)
    before = empty.dump("postgres")
    try:
        assert planned(empty) == dict.fromkeys(RARE_NAMES, True)
        empty.moved("--allow", "all")
        assert empty.value("select 'x'::sso_word::text") == "x"
        assert empty.value("select sso_sum(x) from generate_series(1, 3) x") == 6
        assert (
            empty.value(
                "insert into sso_many values ('{\"(1,x)\"}', array[(1, 'y')]::"
                "moved_gaqno_rpg_db_public.rpg_items[], rpg_span(1, 2), '{}') returning pairs[1].b"
            )
            == "x"
        )
        empty.sql(
            "truncate sso_many; create table sso_p partition of sso_parted default;"
            "insert into sso_parted values ('v'); drop table sso_p;"
            "insert into sso_doors values (1); refresh materialized view sso_seen;"
            "insert into sso_stats values ('a', 'b'); analyze sso_stats; truncate sso_stats"
        )
        assert empty.value("select rpg_span(1, 2)::text", RPG_DB) == "[1,2)"
        assert empty.transfer("--undo").code == 0
        assert empty.dump("postgres") == before
    finally:
        empty.sql("drop event trigger watch")


OPERATORS = """
create type rpg_t as (n int); create type mood as (n int);
create function rpg_eq(rpg_t, rpg_t) returns bool language sql immutable as
  'select ($1).n = ($2).n';
create function mood_eq(mood, mood) returns bool language sql immutable as
  'select ($1).n = ($2).n';
create function mood_ne(mood, mood) returns bool language sql immutable as
  'select ($1).n <> ($2).n';
create function rpg_up(rpg_t) returns int language sql immutable as 'select ($1).n';
create operator === (leftarg = rpg_t, rightarg = rpg_t, function = rpg_eq);
create operator === (leftarg = mood, rightarg = mood, function = mood_eq, negator = !==);
create operator !== (leftarg = mood, rightarg = mood, function = mood_ne, negator = ===);
create operator @@ (rightarg = rpg_t, function = rpg_up);
create cast (rpg_t as int) with function rpg_up(rpg_t) as implicit;
comment on operator === (mood, mood) is 'x'; comment on cast (rpg_t as int) is 'x';
create text search dictionary rpg_words (template = pg_catalog.simple);
create text search configuration rpg_english (copy = pg_catalog.simple);
alter text search configuration rpg_english alter mapping for word with rpg_words;
create text search configuration "rpg_Set" (copy = pg_catalog.simple);
create text search configuration sso_english (copy = pg_catalog.simple);
create collation "rpg_Order" (provider = libc, locale = 'C');
create collation sso_order (provider = libc, locale = 'C');
create collation shared_order (provider = libc, locale = 'C');
create conversion rpg_conversion for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;
create operator family sso_family using btree;
create table rpg_m (m mood, t rpg_t, v text collate "rpg_Order",
  constraint same check (m operator(public.===) m));
create index on rpg_m using gin (to_tsvector('rpg_english', v));
create view rpg_v as select m !== m as never, @@ t as up, t::int as cast_ from rpg_m;
insert into rpg_m values (row(1)::mood, row(2)::rpg_t, 'one');
create table sso_a (v text collate sso_order);
alter database postgres set default_text_search_config = 'public."rpg_Set"'
"""

RARE_OBJECTS = """
select type, identity from (
  select 'pg_operator'::regclass, oid from pg_operator
  union all select 'pg_cast'::regclass, oid from pg_cast
  union all select 'pg_collation'::regclass, oid from pg_collation
  union all select 'pg_conversion'::regclass, oid from pg_conversion
  union all select 'pg_opfamily'::regclass, oid from pg_opfamily
  union all select 'pg_ts_config'::regclass, oid from pg_ts_config
  union all select 'pg_ts_dict'::regclass, oid from pg_ts_dict
) each (class, id) cross join pg_identify_object(class, id, 0) where id >= 16384
order by 1, 2
"""

MOVED_RARE = [
    ("cast", "(public.rpg_t AS integer)"),
    ("collation", 'public."rpg_Order"'),
    ("conversion", "public.rpg_conversion"),
    ("operator", "public.!==(public.mood,public.mood)"),
    ("operator", "public.===(public.mood,public.mood)"),
    ("operator", "public.===(public.rpg_t,public.rpg_t)"),
    ("operator", "public.@@(NONE,public.rpg_t)"),
    ("text search configuration", "public.rpg_english"),
    ("text search dictionary", "public.rpg_words"),
]


def test_operators_and_casts_move_with_their_types(empty: World) -> None:
    """So do collations and text search of the service's; others' stay, nobody's is copied."""
    empty.sql(OPERATORS)
    try:
        before = empty.dump("postgres")
        rare = empty.sql(RARE_OBJECTS)
        assert planned(empty) == {}
        empty.moved()
        both = [("collation", "public.shared_order")]
        both.append(("text search configuration", 'public."rpg_Set"'))
        assert empty.sql(RARE_OBJECTS, RPG_DB) == sorted([*MOVED_RARE, *both])
        left = empty.sql(RARE_OBJECTS)
        assert {each for each in left if "moved_gaqno_rpg_db_" not in each[1]} == {
            *both,
            ("collation", "public.sso_order"),
            ("operator family", "public.sso_family USING btree"),
            ("text search configuration", "public.sso_english"),
        }
        assert empty.sql("table rpg_v", RPG_DB) == [(False, 2, 2)]
        assert empty.value("select to_tsvector('x')::text") == "'x':1"
        functions = "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        assert empty.sql(functions) == []
        assert empty.transfer("--undo").code == 0
        assert empty.dump("postgres") == before
        assert empty.sql(RARE_OBJECTS) == rare
        empty.moved()
        assert empty.transfer("--drop-quarantine").code == 0
        assert {each for each in empty.sql(RARE_OBJECTS) if each[1] not in str(left)} == set()
        assert "moved_gaqno" not in str(empty.sql(RARE_OBJECTS))
    finally:
        empty.sql("alter database postgres reset all")


def test_an_operator_that_others_use_stays(empty: World) -> None:
    """One that another's view uses, one of the server's types, and a cast to another's type."""
    empty.sql(
        "create type rpg_t as (n int); create table rpg_a (t rpg_t); create type sso_t as (n int);"
        "create function rpg_eq(rpg_t, rpg_t) returns bool language sql as 'select true';"
        "create operator === (leftarg = rpg_t, rightarg = rpg_t, function = rpg_eq);"
        "create view sso_v as select row(1)::rpg_t === row(1)::rpg_t as same;"
        "create function rpg_to(rpg_t) returns sso_t language sql as 'select row(1)::sso_t';"
        "create cast (rpg_t as sso_t) with function rpg_to(rpg_t);"
        "create function rpg_int(int, int) returns bool language sql as 'select true';"
        "create operator =~= (leftarg = int, rightarg = int, function = rpg_int);"
        "create function rpg_add(int, int) returns int language sql immutable as 'select $1 + $2';"
        "create operator +# (leftarg = int, rightarg = int, function = rpg_add);"
        "create table rpg_i (n int check (n +# 1 > 1));"
        "create text search configuration rpg_c (copy = pg_catalog.simple);"
        "create view sso_w as select to_tsvector('rpg_c', 'x')::text as words;"
        "create type rpg_u as (n int); create table rpg_b (u rpg_u); create table sso_b (u rpg_u);"
        "create function rpg_near(rpg_u, rpg_u) returns bool language sql as 'select true';"
        "create operator ~~~ (leftarg = rpg_u, rightarg = rpg_u, function = rpg_near)"
    )
    before = empty.dump("postgres")
    assert planned(empty) == {
        "cast:(public.rpg_t AS public.sso_t)": True,
        "operator:public.===(public.rpg_t,public.rpg_t)": True,
        "operator:public.+#(integer,integer)": True,
        "operator:public.=~=(integer,integer)": True,
        "column:sso_b.u": True,
        "view:sso_v": True,
        "view:sso_w": True,
    }
    empty.moved("--allow", "all")
    assert empty.value("table sso_v") is True
    assert empty.value("table sso_w") == "'x':1"
    assert empty.value("select 1 =~= 2") is True
    assert empty.value("select 1 +# 2") == 3
    for database in ("postgres", RPG_DB):
        assert empty.value("select row(1)::rpg_u ~~~ row(2)::rpg_u", database) is True
    assert empty.value("select row(1)::rpg_t === row(1)::rpg_t", RPG_DB) is True
    assert empty.transfer("--undo").code == 0
    assert empty.dump("postgres") == before


def test_servers_of_others_stay_with_their_passwords(empty: World) -> None:
    """A foreign server with another service's prefix is not copied; the service's own is, asked."""
    empty.sql(
        "create table rpg_t (id int); create foreign data wrapper shared;"
        "create server sso_server foreign data wrapper shared;"
        "create server rpg_server foreign data wrapper shared;"
        "create user mapping for public server sso_server options (password 's3cret');"
        "create user mapping for public server rpg_server options (password 's3cret')"
    )
    try:
        names = planned(empty)
        assert names["superuser:shared"] is False
        assert names["user_mapping:rpg_server for public"] is True
        assert "user_mapping:sso_server for public" not in names
        empty.sql("drop server rpg_server cascade; create extension hstore")
        empty.sql("alter extension hstore add foreign data wrapper shared")
        assert planned(empty) == {}
        empty.moved()
        assert empty.sql("select srvname from pg_foreign_server", RPG_DB) == []
        assert empty.sql("select srvname from pg_foreign_server") == [("sso_server",)]
    finally:
        empty.sql("drop extension if exists hstore cascade")
        empty.sql("drop foreign data wrapper if exists shared cascade")


COPIED = """
create table rpg_t (id int); create table rpg_u (id int); create table sso_t (id int);
create table audit (what text);
create function audits() returns trigger language plpgsql as
  $$begin insert into audit values (tg_table_name); return new; end$$;
create trigger audits before insert on rpg_t for each row execute function audits();
create trigger audits before insert on sso_t for each row execute function audits();
create function sso_count() returns bigint language plpgsql as
  $$begin return (select count(*) from sso_t); end$$;
create function helper() returns bigint language plpgsql as $$begin return sso_count(); end$$;
create function rpg_helped() returns bigint language plpgsql as $$begin return helper(); end$$;
create function of_others() returns bigint language plpgsql as
  $$begin return (select count(*) from sso_t); end$$;
create function callers() returns bigint language plpgsql as $$begin return of_others(); end$$;
create function plain() returns int language sql as 'select 1'
"""


def test_a_copy_that_needs_what_stays_is_named(empty: World) -> None:
    """A shared function whose text names others' tables fails in the target, or stays if unused."""
    empty.sql(COPIED)
    before = empty.dump("postgres")
    assert planned(empty) == {"function:public.audits()": True, "function:public.sso_count()": True}
    plan = empty.transfer("--dry-run", "--json").json
    said = {each["name"]: each["message"] for each in plan["obstacles"]}
    assert "of which the target gets a copy, needs audit, which stays" in " ".join(said.values())
    refused = empty.transfer()
    assert refused.code == 10
    assert {*refused.obstacles} == said.keys()
    empty.moved("--allow", "all")
    functions = (
        "select proname::text from pg_proc where pronamespace = 'public'::regnamespace order by 1"
    )
    assert [name for (name,) in empty.sql(functions, RPG_DB)] == [
        "audits",
        "helper",
        "plain",
        "rpg_helped",
        "sso_count",
    ]
    empty.sql("insert into sso_t values (1)")
    assert empty.value("select callers()") == 1
    for statement in ("insert into rpg_t values (1)", "select rpg_helped()"):
        with pytest.raises(psycopg.errors.UndefinedTable):
            empty.sql(statement, RPG_DB)
    empty.sql("delete from sso_t; delete from audit")
    assert empty.transfer("--undo").code == 0
    assert empty.dump("postgres") == before
    empty.sql(f"drop database {RPG_DB}__undone")
    empty.moved("--with", "audit", "--allow", "all")
    empty.sql("insert into rpg_t values (1)", RPG_DB)
    assert empty.value("select what from audit", RPG_DB) == "rpg_t"


COMPOSED = """
create table rpg_items (id int); create table sso_t (id int);
create view sso_array as
  select each::regclass::text from unnest('{sso_t, rpg_items}'::text[]) each;
create view sso_names as
  select to_regclass(each::text) is null from unnest('{rpg_items}'::name[]) each;
create view sso_other as select each::regclass::text from unnest('{sso_t}'::text[]) each;
create function sso_loops() returns int language plpgsql as
  $$declare each text; begin foreach each in array '{rpg_items}'::text[] loop
    execute 'table ' || each; end loop; return 1; end$$;
create function sso_joins(which text) returns int language plpgsql as
  $$begin execute 'select count(*) from public.rpg_' || which; return 1; end$$;
create function sso_formats(which text) returns int language plpgsql as
  $$begin execute format('select count(*) from rpg_%s', which); return 1; end$$;
create function rpg_joins(which text) returns int language plpgsql as
  $$begin execute 'select count(*) from ' || quote_ident('sso_' || which); return 1; end$$;
create function shared_joins(which text) returns int language plpgsql as
  $$begin execute 'select count(*) from rpg_' || which; return 1; end$$;
create function rpg_own(which text) returns int language plpgsql as
  $$begin execute 'select count(*) from rpg_' || which; return 1; end$$;
create function sso_says() returns text language sql as $$select 'a' -- not rpg_ || x
  $$
"""


def test_a_prefix_that_stands_alone_is_evidence(empty: World) -> None:
    """Names in arrays are found, and who puts names together from another service's prefix."""
    empty.sql(COMPOSED)
    assert planned(empty) == dict.fromkeys(
        (
            "function:public.rpg_joins(which text)",
            "function:public.shared_joins(which text)",
            "function:public.sso_formats(which text)",
            "function:public.sso_joins(which text)",
            "function:public.sso_loops()",
            "view:sso_array",
            "view:sso_names",
        ),
        True,
    )
    assert empty.value("select sso_joins('items')") == 1
    empty.moved("--allow", "all")
    with pytest.raises(psycopg.errors.UndefinedTable):
        empty.sql("select sso_joins('items')")
    with pytest.raises(psycopg.errors.UndefinedTable):
        empty.sql("select rpg_joins('t')", RPG_DB)
    assert empty.value("select rpg_own('items')", RPG_DB) == 1
