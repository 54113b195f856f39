"""What campaigns found, each as few statements as show it, and what is right there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.operator.transfer.rounds import Fields
from tests.support.schemas import Piece, Source

if TYPE_CHECKING:
    from collections.abc import Iterator


class Case(NamedTuple):
    """A source, and what a transfer of rpg's tables makes of it."""

    name: str
    script: str
    """Statements, each ended by a semicolon and a new line."""

    obstacle: str = ""
    """How an obstacle's name must begin; without one all moves, and nobody notices."""


CASES: Final = (
    Case(
        "columns in another order",
        """
create table rpg_p (id int primary key, name text);
create table shared_c (more int) inherits (rpg_p);
alter table rpg_p add column late int;
""",
        "facts:shared_c",
    ),
    Case(
        "a range type of others",
        """
create table rpg_a (id int primary key, name text);
create type sso_r as range (subtype = float8);
""",
    ),
    Case(
        "rarer kinds in a schema whose name is quoted",
        """
create schema "Odd ""schema"" 日本";
create table "Odd ""schema"" 日本".rpg_a (id int primary key, name text);
create collation "Odd ""schema"" 日本".rpg_c (provider = libc, locale = 'C');
create conversion "Odd ""schema"" 日本".rpg_v for 'UTF8' to 'LATIN1' from utf8_to_iso8859_1;
create text search dictionary "Odd ""schema"" 日本".rpg_d (template = pg_catalog.simple);
create text search configuration "Odd ""schema"" 日本".rpg_t (copy = pg_catalog.simple);
create text search dictionary "Odd ""schema"" 日本".sso_d (template = pg_catalog.simple);
""",
    ),
    Case(
        "rights on functions of others whose arguments have names",
        """
create table rpg_a (id int primary key, name text);
create type sso_t as enum ('a');
create function sso_f(t text, inout x int default 1, variadic r sso_t[] default '{}')
  language sql as 'select $2';
create procedure sso_p(t text, inout x int) language sql as 'select $2';
create function sso_step(a text, b text) returns text immutable language sql as 'select $1';
create aggregate sso_agg(x text) (sfunc = sso_step, stype = text);
create function sso_step0(a bigint) returns bigint immutable language sql as 'select $1';
create aggregate sso_agg0(*) (sfunc = sso_step0, stype = bigint);
grant execute on function sso_f to sso_app;
grant execute on procedure sso_p to sso_app;
grant execute on function sso_agg(text) to sso_app;
comment on function sso_f is 'x';
comment on procedure sso_p is 'x';
comment on aggregate sso_agg(text) is 'x';
comment on aggregate sso_agg0(*) is 'x';
""",
    ),
    Case(
        "a publication of others for all tables",
        """
create table rpg_a (id int primary key, name text);
create table sso_a (id int primary key, name text);
create publication sso_all for all tables;
""",
        "publication:sso_all",
    ),
    Case(
        "extended statistics through a function",
        """
create table rpg_a (id int primary key, name text);
create table sso_a (id int, name text);
create function rpg_f(t text) returns text immutable language sql as 'select lower($1)';
create statistics rpg_s on (rpg_f(name)), id from sso_a;
""",
        "statistics:",
    ),
    Case(
        "a check of others' domain that is apart from it",
        """
create table rpg_a (id int primary key, name text);
create domain sso_d as text;
alter domain sso_d add constraint late check (length(value) < 90) not valid;
comment on constraint late on domain sso_d is 'x';
comment on domain sso_d is 'x';
grant usage on domain sso_d to rpg_app;
""",
    ),
    Case(
        "what is in no schema, beside an extension that nothing needs",
        """
create extension citext;
create extension file_fdw;
create table rpg_a (id int primary key);
create table sso_a (id int primary key);
select lo_from_bytea(70044, 'content');
grant select on large object 70044 to rpg_app;
create type shared_t as (a int, b text);
create function shared_sure(a shared_t) returns bool immutable language sql
  as 'select $1 is not null';
create cast (shared_t as bool) with function shared_sure(shared_t);
create server shared_server foreign data wrapper file_fdw;
grant usage on foreign server shared_server to rpg_app;
alter default privileges for role rpg_app grant select on tables to sso_app;
grant usage on foreign data wrapper file_fdw to rpg_app;
grant execute on function citextin(cstring) to rpg_app;
revoke usage on type citext from public;
comment on extension citext is 'x';
""",
    ),
    Case(
        "operators and casts of others' types",
        """
create table rpg_a (id int primary key);
create type sso_t as (a int, b text);
create function sso_same(a sso_t, b sso_t) returns bool immutable
  language sql as 'select $1::text = $2::text';
create operator === (leftarg = sso_t, rightarg = sso_t, function = sso_same);
create function sso_sure(a sso_t) returns bool immutable language sql as 'select $1 is not null';
create cast (sso_t as bool) with function sso_sure(sso_t);
create function sso_words(a text) returns sso_t immutable language sql as 'select (1, $1)::sso_t';
create cast (text as sso_t) with function sso_words(text);
create operator @@@ (rightarg = sso_t, function = sso_sure);
create function sso_compare(a sso_t, b sso_t) returns int immutable
  language sql as 'select bttextcmp($1::text, $2::text)';
create operator class "a class" for type sso_t using btree as operator 3 === (sso_t, sso_t),
  function 1 sso_compare(sso_t, sso_t);
comment on operator class "a class" using btree is 'x';
comment on operator family "a class" using btree is 'x';
comment on operator @@@ (none, sso_t) is 'x';
comment on cast (text as sso_t) is 'x';
create function any_of(a sso_t) returns bool immutable language sql as 'select $1 is not null';
comment on operator === (sso_t, sso_t) is 'x';
comment on cast (sso_t as bool) is 'x';
comment on function any_of is 'x';
""",
    ),
)


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fields]:
    """Servers by their versions, started when the first case wants one."""
    with Fields(tmp_path_factory.mktemp("cases")) as made:
        yield made


@pytest.mark.parametrize("major", [15, 18])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_was_found_once_holds(fields: Fields, case: Case, major: int) -> None:
    """The obstacle is in the plan; or all moves, both services go on, and --undo restores it."""
    statements = tuple(filter(None, map(str.strip, case.script.split(";\n"))))
    source = Source((Piece("case", statements),), (), 0)
    ended = fields[major].play(source)
    names = fields[major].obstacles
    if case.obstacle:
        assert ended == "refused"
        assert [name for name in names if name.startswith(case.obstacle)], names
    else:
        assert (ended, names) == ("moved", [])
