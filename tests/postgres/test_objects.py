"""Which objects use which, in each version of the server that there is."""

from __future__ import annotations

from contextlib import closing

import pytest

from entrypoint.config import dialects
from entrypoint.postgres import objects
from entrypoint.postgres.session import open_session
from tests.support.server import Server
from tests.support.versions import MAJORS, NO_NPM, available, prefix

MADE = """
create extension hstore; create schema app; create schema moved;
comment on schema moved is 'entrypoint moved: {}';
create type mood as enum ('a'); create domain positive as int check (value > 0);
create type level as enum ('a'); create type stat as (l level, n int);
create type span as range (subtype = float8); create type lone as enum ('a');
create function lowest_of() returns int language sql immutable return 1;
create domain lowest as int check (value > lowest_of()); create sequence numbers;
create function at_write() returns trigger language plpgsql as 'begin return new; end';
create function may() returns bool return true;
create function key_of(int) returns int language sql immutable return 1;
create function fits(int) returns bool return true; create type seen as enum ('a');
create table app.x (id int default nextval('numbers'), own serial, m mood[], p positive, s stat,
  r span, l lowest, h hstore, check (fits(id)));
create trigger at_write before insert on app.x for each row execute function at_write();
create policy may on app.x using (may()); create index on app.x (key_of(id));
create table parts (id int) partition by list (id);
create table part partition of parts for values in (1);
alter table part add check ('a'::mood = 'a'::mood);
create view v as select 'a'::seen; create function f(level) returns int return 1;
create table other (id int primary key, m seen); create table y (id int references other);
create table moved.z (l lone); create temp table t (l lone)
"""

USED: dict[str, set[str]] = {
    "at_write": {"x"},
    "fits": {"x"},
    "key_of": {"x"},
    "level": {"x", "stat", "f"},
    "lone": set(),
    "lowest": {"x"},
    "lowest_of": {"x", "lowest"},
    "may": {"x"},
    "mood": {"x", "parts"},
    "numbers": {"x"},
    "positive": {"x"},
    "seen": {"v", "other"},
    "span": {"x"},
    "stat": {"x"},
    **{name: set() for name in ("f", "other", "parts", "v", "x", "y", "z")},
}


@pytest.mark.parametrize("major", MAJORS)
def test_what_uses_an_object(major: int) -> None:
    """Tables, through partitions, types and functions in between; no temporary ones, no moved."""
    if not available(major):
        pytest.skip(NO_NPM)
    with Server.start(prefix=prefix(major)) as server, server.connect() as connection:
        connection.execute(MADE.encode())  # its temporary table lives as long as it does
        conninfo = dialects.parse(server.url(), "URL")
        with (
            closing(open_session(conninfo, 10.0, application_name="test")) as session,
            session.transaction(undone=True),
        ):
            found = objects.find(session)

    used = {each.name: {*each.used_by} - {each.name} for each in found}
    generated = {f"{name}_multirange" for name in USED}
    assert {name: users - generated for name, users in used.items()} == USED
