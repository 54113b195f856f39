"""What transfers are measured on: a durable server, and a shared database with a service in it."""

from __future__ import annotations

import shutil
import subprocess  # noqa: TID251  the monopoly holds in the program
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psycopg import sql

from bench.world import World
from tests.support.server import Server, as_server_user, give

if TYPE_CHECKING:
    from collections.abc import Iterator

DURABLE: Final = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
"""PostgreSQL's defaults, which the tests' servers turn off."""

TYPES: Final = "create extension pg_trgm; create type rpg_class as enum ('mage', 'rogue', 'dwarf')"
"""What a move by table names does not take along: without it, the recipe loses most rows."""

TABLES: Final = """
create table rpg_heroes (id int primary key, class rpg_class, name text, tags jsonb,
  at timestamptz not null);
insert into rpg_heroes select g, (array['mage', 'rogue', 'dwarf'])[1 + g %% 3]::rpg_class,
  'hero ' || md5(g::text), jsonb_build_object('level', g %% 90, 'guild', md5((g %% 500)::text)),
  timestamptz '2026-01-01' + g * interval '1 s' from generate_series(1, 50000 * %(times)s) g;
create table rpg_items (id bigint primary key, hero int references rpg_heroes, what text,
  price numeric(12, 2), updated_at timestamptz);
insert into rpg_items select g, 1 + g %% 50000, repeat(md5(g::text), 6), g / 7.0,
  timestamptz '2026-01-01' + g * interval '1 s' from generate_series(1, 250000 * %(times)s) g;
create table rpg_events (id bigint not null, hero int, kind text, data jsonb, at timestamptz)
  partition by range (id);
create table rpg_events_1 partition of rpg_events for values from (minvalue) to (100000);
create table rpg_events_2 partition of rpg_events for values from (100000) to (200000);
create table rpg_events_3 partition of rpg_events for values from (200000) to (300000);
create table rpg_events_4 partition of rpg_events for values from (300000) to (maxvalue);
insert into rpg_events select g, 1 + g %% 50000, 'kind ' || g %% 20,
  jsonb_build_object('n', g, 'what', md5(g::text), 'who', md5((g %% 50000)::text)),
  timestamptz '2026-01-01' + g * interval '1 s' from generate_series(1, 400000 * %(times)s) g;
create index on rpg_heroes (name);
create index on rpg_items (hero);
create index on rpg_items (updated_at);
create index on rpg_heroes using gin (name gin_trgm_ops);
create index on rpg_heroes using gin (tags);
create index on rpg_events (hero, at);
create index on rpg_events (kind);
alter table rpg_events add primary key (id);
create table sso_users (id int primary key);
%(small)s
vacuum analyze
"""
"""About 140 MB of rows and 60 MB of indexes, times what is asked for."""

SMALL: Final = 33
"""Small tables beside the large ones: 41 in all."""

ONE_OF_MANY: Final = """
create table rpg_t{i} (id serial primary key, other int, name text);
create index on rpg_t{i} (other);
insert into rpg_t{i} (other, name) select g, 'name ' || g from generate_series(1, 20) g;
"""


@contextmanager
def durable(runs: int | None) -> Iterator[World]:
    """A server with the durability that PostgreSQL has unless told otherwise, on a disk."""
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        server = Server(home, DURABLE)
        give(home)
        subprocess.run(  # noqa: S603  of the wheel
            [server.pg_bin / "initdb", "-D", server.data, "-U", "postgres", "-E", "UTF8"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={"LC_ALL": "C.UTF-8"},
            **as_server_user(),
        )
        server.close()
        with World(Server.start(home, settings=DURABLE), runs) as world:
            yield world
    finally:
        shutil.rmtree(home, ignore_errors=True)


def fill(world: World, times: int = 1) -> str:
    """Make the shared database, so many times its size; its name."""
    name = world.database()
    world.create(name)
    small = "".join(ONE_OF_MANY.format(i=i) for i in range(SMALL))
    for statement in f"{TYPES};{TABLES % {'times': times, 'small': small}}".split(";\n"):
        if statement.strip():
            world.execute(sql.SQL(statement), name)
    return name


def many(world: World, tables: int) -> str:
    """Make a shared database with so many small tables of the service's; its name."""
    name = world.database()
    world.create(name)
    for first in range(0, tables, 200):
        batch = range(first, min(tables, first + 200))
        world.execute(sql.SQL("".join(ONE_OF_MANY.format(i=i) for i in batch)), name)
    world.execute(sql.SQL("create table sso_users (id int primary key)"), name)
    world.execute(sql.SQL("vacuum analyze"), name)
    return name
