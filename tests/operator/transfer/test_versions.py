"""Between servers of different versions, up and down: all arrives, and what cannot is told."""

from __future__ import annotations

import re
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from entrypoint.config.conninfo import Conninfo
from entrypoint.postgres.session import open_session
from entrypoint.transfer import compare
from tests.operator.conftest import create_role
from tests.operator.transfer.conftest import (
    CROSSING,
    RPG_DB,
    SOURCE,
    WITH,
    World,
    allowing,
    newest,
)
from tests.operator.transfer.test_everything import OBJECTS, ROLE_SETTINGS
from tests.support import versions
from tests.support.server import Server, give

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UP = [(14, 15), (15, 16), (16, 17), (17, 18), (14, 18)]
PAIRS = [*UP, *((new, old) for old, new in UP)]

OLDER_EXTENSIONS = {
    (15, 14): ("extension:btree_gist",),
    (18, 17): ("extension:btree_gist", "extension:citext"),
    (18, 14): ("extension:btree_gist", "extension:citext"),
}
"""Of what moves, those that an older server has in an older version."""

ROLES = ("rpg_owner", "rpg_reader", '"Odd ""Role%"')

NEWEST_ONLY = """
drop table rpg_virtual;
create table rpg_virtual (a int, b int generated always as (a * 2) stored);
insert into rpg_virtual values (1), (2)
"""
"""What no older server knows is made otherwise."""

ENABLED = """
select tgrelid::regclass::text, tgname, tgenabled::text from pg_trigger
where tgrelid::regclass::text !~ '^sso_' and (not tgisinternal
  or tgparentid <> 0 and current_setting('server_version_num')::int < 150000)
"""
"""Those of partitions are internal before 15."""

DATABASES = "select datname from pg_database where not datistemplate and datname <> 'postgres'"


class Newest(World):
    """A world with the clients of the newest version."""

    @property
    def tools(self) -> Path:
        """Where they are."""
        return newest()


@pytest.fixture(scope="module")
def world_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], World]]:
    """A server of each version that is asked for, with the roles of `SOURCE`."""
    worlds: dict[int, World] = {}
    with ExitStack() as stack:

        def find(major: int) -> World:
            if not versions.available(major):
                pytest.skip(versions.NO_NPM)
            if major not in worlds:
                server = stack.enter_context(Server.start(prefix=versions.prefix(major)))
                made = Newest.on(server, tmp_path_factory.mktemp(f"v{major}"))
                stack.callback(made.close)
                worlds[major] = made
                for role in ROLES:
                    made.sql(f"create role {role}")
            return worlds[major]

        yield find


@pytest.fixture(scope="module")
def filled(world_of: Callable[[int], World]) -> Callable[[int], World]:
    """The same, with everything of `SOURCE` in its database `postgres`."""

    def find(major: int) -> World:
        world = world_of(major)
        if not world.sql("select 1 from pg_tables where tablename = 'rpg_heroes'"):
            clear(world)
            for role in ROLES:
                world.sql(f"drop role {role}")
            world.psql(SOURCE)
            if major == max(versions.ALL):
                world.sql(NEWEST_ONLY)
        return world

    return find


def clear(world: World) -> None:
    """Remove what a test before left on a server."""
    for (name,) in world.sql(DATABASES):
        world.sql(f"drop database {name} with (force)")


def reset(source: World, target: World) -> None:
    """Make two servers as they were when they were made."""
    for world in (source, target):
        clear(world)
        for (name,) in world.sql("select nspname from pg_namespace where nspname !~ '^(pg_|inf)'"):
            world.sql(f'drop schema "{name}" cascade')
        world.sql(
            "create schema public authorization pg_database_owner;"
            "grant usage on schema public to public;"
            "comment on schema public is 'standard public schema'"
        )
        for (name,) in world.sql("select pubname from pg_publication"):
            world.sql(f'drop publication "{name}"')
        for (name,) in world.sql("select extname from pg_extension where extname <> 'plpgsql'"):
            world.sql(f'drop extension "{name}" cascade')
        world.sql("select lo_unlink(oid) from pg_largeobject_metadata")
        world.sql("alter database postgres reset all")
        for role in ROLES:
            world.sql(f"alter role {role} in database postgres reset all")
        world.sql("drop owned by rpg_owner")


def facts(world: World, database: str) -> list[set[Any]]:
    """What settings, large objects and triggers there are."""
    return [set(world.sql(query, database)) for query in (ROLE_SETTINGS, OBJECTS, ENABLED)]


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_everything_moves_between_versions(
    filled: Callable[[int], World], world_of: Callable[[int], World], old: int, new: int
) -> None:
    """All rows, positions, settings and triggers arrive; --undo brings all of the source back."""
    source, target = filled(old), world_of(new)
    clear(source)
    clear(target)
    before, rows = source.dump("postgres"), source.rows("postgres")
    expected, sequences = facts(source, "postgres"), source.sequences("postgres")
    words = ["--to", target.server.url(), *WITH]
    plan = source.transfer("--dry-run", "--json", *words).json
    met = {each["name"] for each in plan["obstacles"]}
    assert {*CROSSING} - met <= {"publication:sso_all"}  # of a schema, since 15
    assert met - {*CROSSING} == {*OLDER_EXTENSIONS.get((old, new), ())}
    words += allowing(*met)
    moved = source.moved(*words)
    assert moved["facts"] > 200
    found = target.rows(RPG_DB)
    assert len(found) > 30
    stale = "public.rpg_m_stale"  # a restore computes it anew
    assert {**found, stale: rows[stale]}.items() <= rows.items()
    assert target.sequences(RPG_DB).items() <= sequences.items()
    assert facts(target, RPG_DB) == expected
    assert target.value("select rpg_award_xp(1)", RPG_DB) == 11
    assert (source.left(), target.left()) == ([], [])
    again = source.transfer("--json", *words)
    assert (again.code, again.json["result"]) == (0, "nothing to move"), again.err
    undone = source.transfer("--undo", "--json", "--to", target.server.url())
    assert (undone.code, undone.json["result"]) == (0, "undone"), undone.err
    assert source.dump("postgres") == before


MAKE = """
alter schema public owner to postgres;
revoke create on schema public from public;
create type kind as enum ('a', 'b');
create function one(int) returns int language sql immutable as 'select $1 + 1';
create function parsed(a int) returns int language sql immutable begin atomic select a + 1; end;
create table t (id int primary key, a int not null, v varchar, k kind default 'a',
  g int generated always as (a + 1) stored);
create table other (id int primary key, t int references t);
alter table t add constraint some_v check (v in ('x', 'y') and a > 1);
create index parts on t (lower(v)) where a > 3;
create view seen as select t.id, t.a as b, one(t.a) as c from t join other o on o.t = t.id
  where t.v <> 'none' and exists (select from other x where x.id = t.a);
create materialized view counted as select v, count(*) from t group by v having count(*) > 1;
alter table t enable row level security;
create policy mine on t using (v = current_user and a in (select id from other));
create rule logs as on insert to t where new.a > 1 do also insert into other values (new.id);
create function touch() returns trigger language plpgsql as 'begin return new; end';
create trigger touches before update on t for each row when (old.a is distinct from new.a)
  execute function touch();
create table many (id int, at date) partition by range (at);
create table many_2020 partition of many for values from ('2020-01-01') to ('2021-01-01');
create trigger clones after update on many for each row execute function touch();
create table bare (id int);
create domain small as int not null check (value < 10);
grant all on t to rpg_reader;
grant select, insert on other to rpg_reader;
revoke all on bare from postgres
"""

CHANGES = {
    "a view's constant": "create or replace view seen as select t.id, t.a as b, one(t.a) as c from"
    " t join other o on o.t = t.id where t.v <> 'some' and exists (select from other x"
    " where x.id = t.a)",
    "a view's condition": "create or replace view seen as select t.id, t.a as b, one(t.a) as c from"
    " t join other o on o.t = t.id where t.v <> 'none'",
    "the order of a view's columns": "drop view seen; create view seen as select t.a as b, t.id,"
    " one(t.a) as c from t join other o on o.t = t.id where t.v <> 'none' and exists (select from"
    " other x where x.id = t.a)",
    "a materialized view": "drop materialized view counted; create materialized view counted as"
    " select v, count(*) from t group by v having count(*) > 2",
    "a null that is allowed": "alter table t alter a drop not null",
    "a domain's null": "alter domain small drop not null",
    "a check": "alter table t drop constraint some_v; alter table t add constraint some_v"
    " check (v in ('x', 'z') and a > 1)",
    "a check that is gone": "alter table t drop constraint some_v",
    "an index": "drop index parts; create index parts on t (lower(v)) where a > 4",
    "a default": "alter table t alter k set default 'b'",
    "a generated column": "alter table t drop g; alter table t add g int generated always as"
    " (a + 2) stored",
    "a policy": "alter policy mine on t using (v = session_user and a in (select id from other))",
    "a rule": "create or replace rule logs as on insert to t where new.a > 1 do also insert into"
    " other values (new.a)",
    "a trigger's condition": "drop trigger touches on t; create trigger touches before update on t"
    " for each row when (old.id is distinct from new.id) execute function touch()",
    "a trigger that is off": "alter table t disable trigger touches",
    "a partition's trigger that is off": "alter table many_2020 disable trigger clones",
    "a trigger's row": "drop trigger touches on t; create trigger touches before update on t for"
    " each row when (new.a is distinct from old.a) execute function touch()",
    "a partition's bound": "alter table many detach partition many_2020; alter table many attach"
    " partition many_2020 for values from ('2020-01-01') to ('2022-01-01')",
    "a body that is parsed": "create or replace function parsed(a int) returns int language sql"
    " immutable begin atomic select a + 2; end",
    "a right less": "revoke select on t from rpg_reader",
    "a right more": "grant select on bare to rpg_reader",
    "a right for all": "grant update on other to public",
    "an owner's right": "grant insert on bare to postgres",
    "a grant option": "grant select on other to rpg_reader with grant option",
}
"""What is another way in the target, and must be found whatever the versions."""


IN_PUBLIC = """
select (select array_agg(oid) from pg_class where relnamespace = n.oid),
  (select array_agg(oid) from pg_type where typnamespace = n.oid),
  (select array_agg(oid) from pg_proc where pronamespace = n.oid)
from pg_namespace n where nspname = 'public'
"""


def described(world: World, *changes: str) -> list[set[str]]:
    """What the comparison sees of `MAKE` with each change."""
    world.sql("drop database if exists described with (force)")
    world.sql("create database described")
    world.sql(MAKE, "described")
    params = {k: str(v) for k, v in conninfo_to_dict(world.server.url("described")).items()}
    found = []
    with closing(open_session(Conninfo(params), 5, application_name="test")) as session:
        for change in changes:
            session.connection.execute(f"begin; set local search_path = public; {change}".encode())
            [(relations, types, functions)] = session.connection.execute(IN_PUBLIC).fetchall()
            scope = compare.Scope(relations, types, functions, False, True, [], [], [], [])  # noqa: FBT003  fields
            found.append(compare.facts(session, scope))
            session.connection.execute("rollback")
    world.sql("drop database described with (force)")
    return found


@pytest.mark.parametrize(("old", "new"), [(14, 18), (15, 16), (18, 17), (17, 15)])
def test_a_difference_between_versions_is_found(
    world_of: Callable[[int], World], old: int, new: int
) -> None:
    """What two versions tell in other words is the same; what is another way is a difference."""
    [source] = described(world_of(old), "")
    same, *changed = described(world_of(new), "", *CHANGES.values())
    assert compare.differences(source, same, (old, new)) == []
    assert compare.differences(same, source, (new, old)) == []
    assert compare.differences(source, same) != []  # not so for two servers of one version
    missed = [
        name
        for name, facts_ in zip(CHANGES, changed, strict=True)
        if not compare.differences(source, facts_, (old, new))
    ]
    assert missed == []


def test_maintain_alone_is_a_difference(world_of: Callable[[int], World]) -> None:
    """The right to maintain a table is part of ALL since 17, and otherwise a right of its own."""
    [source] = described(world_of(16), "")
    [target] = described(world_of(17), "grant maintain on other to rpg_reader")
    found = compare.differences(source, target, (16, 17))
    assert {each.side for each in found} == {"source", "target"}
    assert all("rpg_reader" in each.fact for each in found)


TEXTS = r"""
create table rpg_j (p jsonpath default '$.a ? (@.b > 1 && -(@.c) == +1)', q jsonpath default
  '$[*] ? (@ like_regex "^a" flag "i")', c int, check ('{"a":1}'::jsonb @? '-($.a)'));
insert into rpg_j values (default, default);
insert into rpg_j select x::jsonpath from unnest(array['(1 + $.a) * -2', '-(1.5e3)',
  '$."x y".**{2 to last}', 'strict $.a.type() == "x\u0041"', '-1 + -$.a', '(-$.a).abs()',
  '$.a[-1]', '1.0', '((((1))))', '$ ? (!(@ == 1))', 'exists($.a)', '$.datetime("HH24:MI")',
  '1 + (2 - 3)']) x;
create table rpg_c (c "char" default 'a', d "char"); insert into rpg_c values (default, ''),
  ('b', 'c'), ('\', 'x');
create table rpg_h (c "char"); insert into rpg_h values ((-100)::int::"char");
create table rpg_hd (c "char" default (-100)::int::"char", d "char" default E'\x01');
create table rpg_o (i interval default '1 mon -3 days', m money, f float4[] default
  '{1e-7,NaN,-0}', n numeric default 'NaN', x xid8 default '5', s pg_lsn default '0/16B3740', tq
  tsquery default 'a & b <2> c', tv tsvector default 'a:1A b', b bit varying(5) default B'101',
  inet cidr default '10.0.0.0/8', mac macaddr8 default '08:00:2b:01:02:03:04:05', pt polygon
  default '((0,0),(1,1),(1,0))', t time with time zone default '10:00+02', js json default
  '{"a" : 1}', u uuid default gen_random_uuid(), rg daterange default '[2020-01-01,2020-02-01]',
  mr int4multirange default '{[1,3),[5,7)}', reg regclass default 'pg_class'::regclass, ro
  regrole, na name default 'x', tx tid default '(0,1)', h text default E'a\nb\\', by bytea
  default '\xdead', de timestamptz default '2020-01-01 00:00+00', dd date default 'infinity',
  ddd date default current_date, ts timestamp(3) default localtimestamp(3), ex numeric default
  extract(epoch from timestamp '2020-01-01'), jj jsonb default json_build_object('a', 1)::jsonb,
  su text default substring('abc' from 2 for 1), tr text default trim(both 'x' from 'xax'), ovr
  bool default ((current_date, current_date) overlaps (current_date, current_date)), po int
  default (position('a' in 'ba')), tz timestamptz default (now() at time zone 'utc'), nz text
  default normalize('a'), coll text collate "C" default ('x' collate "C"), sim bool default ('a'
  similar to 'b'), arr int[] default array[1,2] || 3, cs text default case when 1 = 1 then 'a'
  end, co text default coalesce(null, 'a'), gr int default greatest(1,2), nu int default
  nullif(1,2), ro2 text default row(1,2)::text, cu name default current_user, hx int default
  255);
insert into rpg_o default values;
create view rpg_ov as select i, m, extract(year from de) as y, tz at time zone 'utc' as tz2,
  overlay(h placing 'x' from 1) as ov2, substring(h similar 'a#"b#"c' escape '#') as ss, (select
  json_agg(x) from (values (1),(2)) v(x)) as ja, array(select 1 order by 1) as ar, row_number()
  over (partition by i order by m rows between 1 preceding and current row) as rn, count(*)
  filter (where i is null) over w as cf from rpg_o window w as (order by m);
create table rpg_a (id int primary key, v text, at timestamptz); create table rpg_b (id int, a
  int references rpg_a);
create view rpg_v1 as with recursive t(n) as (select 1 union all select n + 1 from t where n <
  5) search depth first by n set o cycle n set c using p select n, c from t;
create view rpg_v2 as select a.*, b.id as bid from rpg_a a left join lateral (select * from
  rpg_b where rpg_b.a = a.id limit 1) b on true;
create view rpg_v3 as select id, grouping(id, v), count(distinct v) from rpg_a group by grouping
  sets ((id), (v), ()) having count(*) > 0;
create view rpg_v4 as select * from rpg_a natural join (select id from rpg_b) b for update;
create view rpg_v5 as select * from rpg_a join rpg_b using (id) as j where j.id > 1;
create view rpg_v6 as select * from unnest(array[1,2], array['a']) with ordinality as x(a, b,
  n), generate_series(1, 3) g;
create view rpg_v7 as select * from rpg_a tablesample bernoulli (50) repeatable (1);
create view rpg_v8 as values (1, 'a'), (2, 'b');
create view rpg_v9 as select (select max(id) from rpg_b where rpg_b.a = rpg_a.id) as m, exists
  (select from rpg_b) as e, id in (1,2,3) as i, id = any (select id from rpg_b) as an, id <> all
  (array[1,2]) as al, v is distinct from 'x' as d, v like 'a%' escape '#' as l, at between now()
  and now() as b, at at time zone 'utc' as z, v ilike any (array['a']) as il from rpg_a order by
  id desc nulls last limit 5 offset 1;
create materialized view rpg_m as select id, v from rpg_a union (select id, v from rpg_a
  intersect select 1, 'x') except all select 2, 'y';
create function rpg_f(a int, out b int, out c text) returns setof record language sql begin
  atomic; select id, v from rpg_a where id = a; insert into rpg_b values (1, 1) returning id,
  a::text; end;
create procedure rpg_p(inout x int) language sql begin atomic; update rpg_a set v = default, id
  = x where rpg_a.id = 1; delete from rpg_b using rpg_a where rpg_b.a = rpg_a.id; insert into
  rpg_a (id) values (1) on conflict (id) do update set v = excluded.v where rpg_a.id > 1; select
  1; end;
create rule r1 as on update to rpg_v8 do instead (insert into rpg_a (id, v) values (new.column1,
  old.column2); notify x);
create policy p1 on rpg_a using (exists (select from rpg_b where rpg_b.a = rpg_a.id and rpg_a.v
  = current_user)) with check (id > 1);
create index on rpg_a ((v || 'x') text_pattern_ops desc) include (id) where v is not null;
create index on rpg_a (lower(v) collate "C", (at at time zone 'utc'));
create statistics rpg_s (mcv, dependencies) on lower(v), id, (id + 1) from rpg_a;
alter table rpg_b add constraint x check ((id, a) > (1, 2) or id between 1 and 3 and not (a is
  null)), add column g text generated always as (id::text || 'a') stored;
create trigger t1 before update of v on rpg_a for each row when (old.* is distinct from new.*
  and (new.v in ('a','b') or old.id = 1)) execute function suppress_redundant_updates_trigger()
"""
"""What a server writes as a text, each version in its own way: values, defaults, views, bodies."""


@pytest.mark.parametrize(("old", "new"), [(15, 16), (16, 15), (15, 18)])
def test_texts_of_every_kind_move_between_versions(
    world_of: Callable[[int], World], old: int, new: int
) -> None:
    """Paths in JSON, single bytes, defaults and views in odd syntax: nothing is in the way."""
    source, target = world_of(old), world_of(new)
    reset(source, target)
    source.sql(TEXTS)
    tables = source.rows("postgres")
    dry = source.transfer("--json", "--dry-run", "--to", target.server.url())
    assert dry.json["obstacles"] == []
    source.moved("--to", target.server.url())
    assert target.rows(RPG_DB).keys() == tables.keys()
    assert {name: rows for name, (rows, _) in target.rows(RPG_DB).items()} == {
        name: rows for name, (rows, _) in tables.items()
    }


NEWER = {
    "virtual:rpg_v.b": "create table rpg_v (a int, b int generated always as (a * 2))",
    "not_null:rpg_n.rpg_late": "create table rpg_n (a int); insert into rpg_n values (1);"
    " alter table rpg_n add constraint rpg_late not null a not valid",
    "not_null:rpg_o.rpg_own": "create table rpg_o (a int constraint rpg_own not null no inherit)",
    "comment:rpg_c.rpg_noted": "create table rpg_c (a int constraint rpg_noted not null);"
    " comment on constraint rpg_noted on rpg_c is 'why'",
    "maintain:rpg_m": "create table rpg_m (a int); grant maintain on rpg_m to rpg_reader",
    "constraint:rpg_e.rpg_any": "create table rpg_e (a int constraint rpg_any check (a > 0)"
    " not enforced)",
}
"""What 18 has and 16 does not."""

OLDER = {
    "index:rpg_u_a_key": "create table rpg_u (a int unique nulls not distinct)",
    "view:rpg_i": "create view rpg_i with (security_invoker) as select 1 as a",
}
"""What 15 has and 14 does not."""


@pytest.mark.parametrize(("old", "new", "cases"), [(18, 16, NEWER), (15, 14, OLDER)])
def test_what_an_older_server_cannot_have_is_in_the_plan(
    world_of: Callable[[int], World], old: int, new: int, cases: dict[str, str]
) -> None:
    """Each has a name and a remedy in SQL; when it was run, all moves."""
    source, target = world_of(old), world_of(new)
    reset(source, target)
    source.sql("; ".join(cases.values()))
    refused = source.transfer("--json", "--dry-run", "--to", target.server.url())
    obstacles = {each["name"]: each for each in refused.json["obstacles"]}
    assert cases.keys() <= obstacles.keys(), refused.out
    assert not any(obstacles[name]["allowable"] for name in cases)
    for name in cases:
        remedy = re.fullmatch(
            r"Run (.*?)(, and add it again as STORED)?\.", obstacles[name]["remedy"]
        )
        source.sql(remedy[1] if remedy else "drop table rpg_u")
    source.sql("create table if not exists rpg_last (id int)")
    source.moved("--to", target.server.url())


def test_an_inherited_null_is_in_the_plan(world_of: Callable[[int], World]) -> None:
    """A child that may be null cannot have a parent that may not in 18; mended, it moves."""
    source, target = world_of(16), world_of(18)
    reset(source, target)
    source.sql(
        "create table rpg_p (id int not null); create table rpg_q () inherits (rpg_p);"
        "alter table rpg_q alter id drop not null; insert into rpg_q values (1)"
    )
    refused = source.transfer("--to", target.server.url())
    assert refused.obstacles == ["not_null:rpg_q.id"], refused.err
    source.sql("alter table rpg_q alter id set not null")
    source.moved("--to", target.server.url())


def test_settings_that_the_other_server_does_not_take(world_of: Callable[[int], World]) -> None:
    """One that it does not know is told before, and left out if agreed; the others are set."""
    source, target = world_of(18), world_of(17)
    reset(source, target)
    source.sql("create table rpg_a (id int)")
    source.sql(
        "alter database postgres set enable_self_join_elimination = off;"
        "alter database postgres set work_mem = '7MB';"
        "alter role rpg_reader in database postgres set enable_self_join_elimination = off"
    )
    name = "setting:enable_self_join_elimination"
    words = ("--to", target.server.url())
    refused = source.transfer(*words)
    assert refused.code == 10
    assert sorted(refused.obstacles) == [name, f"{name} of rpg_reader"]
    assert "unrecognized configuration parameter" in refused.err
    assert target.databases() == {"postgres"}
    source.moved(*words, *allowing(name, f"{name} of rpg_reader"))
    assert target.sql(ROLE_SETTINGS, RPG_DB) == [("", "work_mem=7MB")]
    assert target.sql("select 1 from pg_roles where rolconfig is not null") == []


def test_an_extension_that_the_other_server_lacks(world_of: Callable[[int], World]) -> None:
    """What moves needs it: told before anything is made, and nothing is agreed to."""
    source, target = world_of(15), world_of(18)
    reset(source, target)
    source.sql("create extension adminpack; create table rpg_a (id int)")
    source.sql("create function rpg_f() returns text language sql as 'select 1'")
    source.sql("alter table rpg_a add check (pg_catalog.pg_file_unlink('x'))")
    refused = source.transfer("--to", target.server.url(), "--allow", "extension:adminpack")
    assert refused.obstacles == ["extension:adminpack"], refused.err
    assert "adminpack" in refused.failed()["remedy"]
    assert (target.databases(), target.left()) == ({"postgres"}, [])


def test_a_tablespace_that_the_other_server_lacks(
    world_of: Callable[[int], World],
) -> None:
    """Agreed to, tables and indexes are in the default one; where it is there, they are in it."""
    source, target = world_of(17), world_of(18)
    reset(source, target)
    place = source.server.data.parent / "space"
    place.mkdir()
    give(place)
    source.sql(f"create tablespace fast location '{place}'")
    source.sql(
        "create table rpg_a (id int primary key using index tablespace fast) tablespace fast"
    )
    source.sql("insert into rpg_a values (1)")
    words = ("--to", target.server.url())
    refused = source.transfer(*words)
    assert refused.obstacles == ["tablespace:fast"], refused.err
    assert (target.databases(), target.left()) == ({"postgres"}, [])
    source.moved(*words, *allowing("tablespace:fast"))
    query = "select count(*) from pg_class where reltablespace > 0 and relname ~ '^rpg_'"
    assert target.value(query, RPG_DB) == 0
    source.transfer("--undo", "--to", target.server.url())
    clear(target)
    other = target.server.data.parent / "space"
    other.mkdir()
    give(other)
    target.sql(f"create tablespace fast location '{other}'")
    source.moved(*words)
    assert target.value(query, RPG_DB) == 2


def test_a_locale_that_an_older_server_cannot_have(world_of: Callable[[int], World]) -> None:
    """A source in the order of the builtin provider does not move to a server without one."""
    source, target = world_of(18), world_of(16)
    reset(source, target)
    source.sql(
        "create database shared template template0 locale_provider builtin builtin_locale 'C.UTF-8'"
    )
    source.sql("create table rpg_a (id text primary key)", "shared")
    words = ("--from", "shared", "--to")
    refused = source.transfer(*words, target.server.url())
    assert refused.obstacles == ["collation:C.UTF-8"], refused.err
    source.moved(*words, world_of(17).server.url())


PLAIN = """
create schema game authorization {0};
set role {0};
create table game.rpg_heroes (id int primary key, name text not null, at date default now());
insert into game.rpg_heroes select i, 'hero ' || i from generate_series(1, 100) i;
create index on game.rpg_heroes (lower(name));
create view game.rpg_v as select id from game.rpg_heroes where name <> 'x';
create table game.rpg_items (id serial primary key, hero int references game.rpg_heroes);
insert into game.rpg_items (hero) values (1), (2);
grant select on game.rpg_heroes to public
"""


def plain(source: World, target: World) -> tuple[dict[str, str], list[str]]:
    """The owner of a service on two servers: the environment and words of his transfer."""
    urls = []
    for world in (source, target):
        if not world.sql("select 1 from pg_roles where rolname = 'rpg_plain'"):
            create_role(world.server, "rpg_plain", "createdb")
        urls.append(world.server.url("postgres", "rpg_plain", "its-password"))
    source.sql("grant create on database postgres to rpg_plain")
    source.sql(PLAIN.format("rpg_plain"))
    return {"DATABASE_URL": urls[0]}, ["--json", "--to", urls[1]]


@pytest.mark.parametrize(("old", "new"), [(14, 18), (18, 14), (16, 17)])
def test_the_owner_moves_his_own_between_versions(
    world_of: Callable[[int], World], old: int, new: int
) -> None:
    """The least role that may: rows and view arrive, and --undo brings back the source."""
    source, target = world_of(old), world_of(new)
    reset(source, target)
    environ, words = plain(source, target)
    before = source.dump("postgres")
    moved = source.transfer(*words, environ=environ)
    assert moved.code == 0, moved.err
    assert target.value("select count(*) from game.rpg_v", RPG_DB) == 100
    assert target.value("insert into game.rpg_items default values returning id", RPG_DB) == 3
    undone = source.transfer("--undo", *words, environ=environ)
    assert undone.code == 0, undone.err
    assert source.dump("postgres") == before


@pytest.mark.parametrize("old", [14, 15])
def test_an_owner_moves_from_a_public_made_anew(world_of: Callable[[int], World], old: int) -> None:
    """A dump says that its comment is gone, which before 15 only a superuser may say."""
    source, target = world_of(old), world_of(14)
    reset(source, target)
    environ, words = plain(source, target)
    source.sql(
        "drop schema public cascade; create schema public; grant all on schema public to public;"
        "create table rpg_in_public (id int); insert into rpg_in_public values (1);"
        "alter table rpg_in_public owner to rpg_plain"
    )
    if old == 14:
        words = words[:-2]
    moved = source.transfer(*words, *allowing("writers"), environ=environ)
    assert moved.code == 0, moved.err
    assert target.value("select count(*) from rpg_in_public", RPG_DB) == 1
    assert [each for each in moved.json["left_out"] if "COMMENT - SCHEMA public" in each]


def test_what_the_owner_may_not_make_is_in_the_plan(world_of: Callable[[int], World]) -> None:
    """Settings, extensions and tablespaces that are a superuser's: nothing fails after the copy."""
    source, target = world_of(17), world_of(18)
    reset(source, target)
    environ, _ = plain(source, target)
    source.sql(
        "create extension pageinspect; alter database postgres set work_mem = '6MB';"
        "alter database postgres set log_min_duration_statement = 5;"
        "alter database postgres set app.tenant = 'x';"
        "alter role rpg_reader in database postgres set work_mem = '7MB';"
        "create view game.rpg_pages as select public.page_checksum('', 0);"
        "alter view game.rpg_pages owner to rpg_plain"
    )
    refused = source.transfer(environ=environ)
    assert refused.code == 10
    settings = [
        "setting:app.tenant",
        "setting:log_min_duration_statement",
        "setting:work_mem of rpg_reader",
    ]
    assert sorted(refused.obstacles) == ["extension:pageinspect", *settings]
    source.sql("drop view game.rpg_pages; drop extension pageinspect")
    moved = source.transfer("--json", *allowing(*settings), environ=environ)
    assert moved.code == 0, moved.err
    assert source.sql(ROLE_SETTINGS, RPG_DB) == [("", "work_mem=6MB")]


@pytest.mark.parametrize("mighty", [True, False])
def test_an_extension_that_nothing_needs_stays(
    world_of: Callable[[int], World], *, mighty: bool
) -> None:
    """It is not made in the target, which need not have it; its tables and rights stay, too."""
    source, target = world_of(15), world_of(18)
    reset(source, target)
    environ, words = plain(source, target)
    if mighty:
        environ, words = {}, ["--to", target.server.url()]
    source.sql(
        "create schema tools; create extension adminpack; create extension pg_stat_statements"
        " with schema tools; comment on extension adminpack is 'ours';"
        "create extension dict_int with schema game;"
        "grant execute on function pg_catalog.pg_file_unlink(text) to rpg_reader;"
        "revoke select on tools.pg_stat_statements from public"
    )
    moved = source.transfer(*words, environ=environ)
    assert moved.code == 0, moved.err
    made = "select extname from pg_extension where extname <> 'plpgsql'"
    assert target.sql(made, RPG_DB) == []
    assert len(source.sql(made)) == 3
    assert target.value("select count(*) from game.rpg_heroes", RPG_DB) == 100


def test_an_extension_that_is_needed_comes_along(world_of: Callable[[int], World]) -> None:
    """With what it needs itself, and the rows that its users put into its tables."""
    source, target = world_of(15), world_of(18)
    reset(source, target)
    source.sql(
        "create extension cube; create extension earthdistance; create extension adminpack;"
        "create table rpg_a (at earth); insert into rpg_a values (ll_to_earth(1, 2))"
    )
    source.moved("--to", target.server.url())
    made = "select extname from pg_extension where extname <> 'plpgsql' order by 1"
    assert target.sql(made, RPG_DB) == [("cube",), ("earthdistance",)]
    assert target.value("select latitude(at)::int from rpg_a", RPG_DB) == 1


def test_an_extension_stays_with_the_clients_of_its_time(
    world_of: Callable[[int], World], tmp_path: Path
) -> None:
    """Also where pg_dump is older than its option for that, on one server."""
    source = world_of(15)
    reset(source, source)
    source.sql(
        "create extension citext; create table rpg_a (name citext); insert into rpg_a values ('x');"
        "create extension adminpack; comment on extension adminpack is 'ours';"
        "grant execute on function pg_catalog.pg_file_unlink(text) to rpg_reader"
    )
    own = World.on(source.server, tmp_path)
    own.moved()
    made = "select extname from pg_extension where extname <> 'plpgsql'"
    assert own.sql(made, RPG_DB) == [("citext",)]
