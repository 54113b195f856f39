"""Rows about moving a service: the whole command over the tools that it drives."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from psycopg import sql

from bench.measure import Command, Ratio, Row, interleaved, milliseconds

if TYPE_CHECKING:
    from bench.world import World

MAX_ONLINE = 1.15
MAX_COMPARED = 0.25
MAX_OFFLINE = 0.25

# About 200 MB with indexes, as the sizes below come out.
SOURCE: Final = """
create type rpg_class as enum ('mage', 'rogue');
create table rpg_heroes (id int primary key, class rpg_class, name text, at timestamptz);
insert into rpg_heroes select g, case g % 2 when 0 then 'mage' else 'rogue' end::rpg_class,
  'hero ' || g || ' ' || md5(g::text), timestamptz '2026-01-01' + g * interval '1 s'
from generate_series(1, 400000) g;
create table rpg_items (
  id bigint primary key, hero int references rpg_heroes, what text, n numeric);
insert into rpg_items select g, g % 400000 + 1, repeat(md5(g::text), 3), g / 7.0
from generate_series(1, 600000) g;
create index on rpg_items (hero);
create index on rpg_heroes (name);
create table sso_users (id int primary key);
analyze
"""

SERVICE = "bench-rpg"


def transfer(world: World) -> list[Row]:
    """Online over dump and restore by the same tools, and offline over the same."""
    source, target, peer = (world.database() for _ in range(3))
    world.create(source)
    world.execute(sql.SQL(SOURCE), source)
    world.execute(sql.SQL("vacuum analyze"), source)
    registry = world.home / "transfer.toml"
    registry.write_text(f'[{SERVICE}]\ndatabase = "{target}"\nprefixes = ["rpg_"]\n')
    tools = world.tools()
    environ = world.environ(source, ENTRYPOINT_SERVICES=str(registry), PG_BINDIR=str(tools))
    words = ["transfer", SERVICE, "--from", source, "--yes", "--json"]
    argv = [sys.executable, "-I", "-m", "entrypoint", *words]
    ours = Command(argv, environ, world.home, partial(_back, world, source, target))
    offline = replace(ours, argv=[*argv, "--offline"])
    other = Command(
        ["sh", "-ec", PEER, "sh", tools, world.home / "dump", source, peer],
        environ,
        world.home,
        partial(_empty, world, peer),
    )
    runs = world.times(3)
    dumped, moved, copied = interleaved([other, ours, offline], runs)
    ours.before()
    said = ours.output()
    durations = json.loads(said[said.index("{\n") : said.rindex("}\n") + 2])["durations_s"]
    share = durations["compare"] / sum(durations.values())
    rows = []
    for what, took, limit in (
        (
            "transfer of about 200 MB, comparison aside",
            [s * (1 - share) for s in moved],
            MAX_ONLINE,
        ),
        ("transfer of about 200 MB, --offline", copied, MAX_OFFLINE),
    ):
        ratio = Ratio.of(took, dumped)
        rows.append(
            Row(
                f"{what}, over pg_dump -Fd -j2 -Z0 and pg_restore -j2",
                milliseconds(took),
                milliseconds(dumped),
                str(ratio),
                str(runs),
                f"≤ {limit:.2f} x",
                ratio.median <= limit,
            )
        )
    rows.append(
        Row(
            "the comparison's share of that transfer",
            f"{durations['compare'] * 1000:,.0f} ms",
            f"{sum(durations.values()) * 1000:,.0f} ms",
            f"{share:.0%}",
            "1",
            f"≤ {MAX_COMPARED:.0%}",
            share <= MAX_COMPARED,
        )
    )
    return rows


PEER = """
rm -rf "$2"
"$1/pg_dump" -Fd -j2 -Z0 -f "$2" -d "${DATABASE_URL}" -T public.sso_users
"$1/pg_restore" -j2 -e -d "${DATABASE_URL%/*}/$4" "$2"
"""


def _empty(world: World, name: str) -> None:
    world.drop(name)
    world.create(name)


def _back(world: World, source: str, target: str) -> None:
    """Put the source's tables back where they were, and leave no target."""
    for (schema,) in world.execute(
        sql.SQL("select nspname from pg_namespace where starts_with(nspname, 'moved_')"), source
    ):
        for kind, name in (("table", "rpg_items"), ("table", "rpg_heroes"), ("type", "rpg_class")):
            statement = sql.SQL(f"alter {kind} {{}} set schema public")
            world.execute(statement.format(sql.Identifier(schema, name)), source)
        world.execute(sql.SQL("drop schema {}").format(sql.Identifier(schema)), source)
    world.drop(target)
