"""Rows about starts as a whole: over the floor, over dbmate, and with many tenants."""

from __future__ import annotations

import platform
import sysconfig
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg import sql

from bench.measure import BenchError, Command, Ratio, Row, SkippedError, interleaved, milliseconds
from bench.world import OURS, PYTHON, without_tls
from entrypoint.postgres import ledger
from entrypoint.postgres.sql import load_sql

if TYPE_CHECKING:
    from bench.world import World

MAX_OVER_FLOOR = 1.30
DBMATE = "2.36.0"

BARE = "import os; os.execvp('true', ['true'])"
FLOOR = """
import os
import psycopg
connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
connection.execute("select 1")
connection.close()
os.execvp("true", ["true"])
"""


def floor(world: World) -> list[Row]:
    """The least that a start in Python with a look at the server costs, and ours over it."""
    ours = world.warm
    bare, least = (replace(ours, argv=[PYTHON, "-I", "-c", code]) for code in (BARE, FLOOR))
    script = replace(ours, argv=[Path(sysconfig.get_path("scripts")) / "entrypoint", *OURS[4:]])
    runs = world.times(15)
    series = interleaved([bare, least, ours, script], runs)
    over_bare = Ratio.of(series[1], series[0])
    rows = [
        Row(
            "the floor (import psycopg, connect, select 1, exec), over a bare interpreter",
            "",
            f"{milliseconds(series[1])}, bare {milliseconds(series[0])}",
            str(over_bare),
            str(runs),
        )
    ]
    for how, took in (("python -I -m entrypoint", series[2]), ("console script", series[3])):
        ratio = Ratio.of(took, series[1])
        rows.append(
            Row(
                f"warm start over the floor ({how})",
                milliseconds(took),
                milliseconds(series[1]),
                str(ratio),
                str(runs),
                f"≤ {MAX_OVER_FLOOR:.2f} x",
                ratio.median <= MAX_OVER_FLOOR,
            )
        )
    return rows


def dbmate(world: World) -> list[Row]:
    """Ours over `dbmate --wait up`, the same tables, nothing to do."""
    folder = world.home / "dbmate"
    folder.mkdir()
    world.npm(f"install --ignore-scripts dbmate@{DBMATE}", folder)
    binary = next(iter(folder.glob("node_modules/@dbmate/*/bin/dbmate")), None)
    if binary is None:
        raise SkippedError(f"its package has no binary for {platform.machine()}")
    ours = world.warm
    pg_dump = str(world.tools() / "pg_dump")
    dump = [pg_dump, "--schema-only", "--no-owner", ours.environ["DATABASE_URL"]]
    lines = replace(ours, argv=dump).output().splitlines()
    tables = "\n".join(
        line for line in lines if not line.startswith("\\") and "search_path" not in line
    )
    migrations = folder / "db/migrations"
    migrations.mkdir(parents=True)
    text = f"-- migrate:up\n{tables}\n-- migrate:down\n"
    (migrations / "20260101000000_tables.sql").write_text(text)
    environ = world.environ(world.database())
    if "sslmode=" not in environ["DATABASE_URL"]:  # or its driver demands what libpq prefers
        environ["DATABASE_URL"] = without_tls(environ["DATABASE_URL"])
    # Without its dump of the schema, which needs pg_dump in the image.
    other = Command([binary, "--no-dump-schema", "--wait", "up"], environ, folder)
    other.output()
    if "Applying" in (said := other.output()):
        raise BenchError(f"dbmate has something to do: {said}")
    runs = world.times(15)
    series = interleaved([ours, other], runs)
    return [
        Row(
            f"ours, warm, over dbmate {DBMATE} --wait up, nothing to do",
            milliseconds(series[0]),
            milliseconds(series[1]),
            str(Ratio.of(*series)),
            str(runs),
        )
    ]


def tenants(world: World) -> list[Row]:
    """A warm start with many tenants in the ledger over one with a single tenant."""
    ours, database = world.warm, world.service.database
    read = load_sql("postgres/ledger").encode()
    comment, *_ = world.execute(read, database)[0]
    one = ledger.parse(comment)
    fingerprint, at = next(iter(one.seeds.values()))
    many = one
    for number in range(999):
        many = many.seeded(str(UUID(int=number)), fingerprint, at)

    def put(text: str) -> None:
        statement = sql.SQL("comment on database {} is {}")
        world.execute(statement.format(sql.Identifier(database), sql.Literal(text)), database)

    larger = ledger.render(comment, many)
    runs = world.times(15)
    try:
        series = interleaved(
            [
                replace(ours, before=partial(put, larger)),
                replace(ours, before=partial(put, comment)),
            ],
            runs,
        )
    finally:
        put(comment)
    return [
        Row(
            f"warm start, 1,000 tenants in the ledger ({len(larger) / 1000:.0f} kB) over 1",
            milliseconds(series[0]),
            milliseconds(series[1]),
            str(Ratio.of(*series)),
            str(runs),
        )
    ]
