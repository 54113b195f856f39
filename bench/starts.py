"""Rows about starts as a whole: over the floor, over dbmate, and with many tenants."""

from __future__ import annotations

import platform
import statistics
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg import sql

from bench.measure import BenchError, Command, Ratio, Row, SkippedError, interleaved, milliseconds
from bench.world import IMAGE, OURS, PYTHON, without_tls
from entrypoint.postgres import ledger
from entrypoint.postgres.sql import load_sql

if TYPE_CHECKING:
    from bench.world import World

MAX_OVER_PSYCOPG = 0.45
MAX_OVER_DBMATE = 1.9
AT_ONCE = 50
DBMATE = "2.36.0"

BARE = "import os; os.execvp('true', ['true'])"

LEAST = """
import ctypes, os, sys
from ctypes import c_char_p, c_void_p
beside = next(f for f in (f"{each}/psycopg_binary.libs" for each in sys.path) if os.path.isdir(f))
pq = ctypes.CDLL(next(f"{beside}/{n}" for n in os.listdir(beside) if n.startswith("libpq-")))
pq.PQconnectdb.restype = pq.PQexec.restype = c_void_p
pq.PQgetvalue.restype = c_char_p
connection = c_void_p(pq.PQconnectdb(os.environ["DATABASE_URL"].encode()))
result = c_void_p(pq.PQexec(connection, b"select 1"))
assert pq.PQgetvalue(result, 0, 0) == b"1"
pq.PQfinish(connection)
os.execvp("true", ["true"])
"""

PSYCOPG = """
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
    bare, least, psycopg = (
        replace(ours, argv=[PYTHON, "-I", "-c", code]) for code in (BARE, LEAST, PSYCOPG)
    )
    image = replace(ours, argv=[*IMAGE, *OURS[4:]])
    asked = [str(world.tools() / "psql"), ours.environ["DATABASE_URL"], "-Atc", "select 1"]
    runs = world.times(15)
    series = interleaved([bare, least, psycopg, replace(ours, argv=asked), ours, image], runs)

    def over(what: str, took: list[float], other: list[float], most: float | None = None) -> Row:
        ratio, met = Ratio.of(took, other), None
        if most is not None:
            met = ratio.median <= most
        bound = "" if most is None else f"≤ {most:.2f} x"
        shown = milliseconds(took), milliseconds(other), str(ratio), str(runs), bound
        return Row(what, *shown, met)

    least_row = "(libpq by ctypes, connect, select 1, exec)"
    psycopg_row = "(import psycopg, connect, select 1, exec)"
    return [
        over(f"the floor {least_row}, over a bare interpreter", series[1], series[0]),
        over(f"psycopg's {psycopg_row}, over a bare interpreter", series[2], series[0]),
        over("warm start over the floor", series[5], series[1]),
        over("warm start over psycopg's", series[5], series[2], MAX_OVER_PSYCOPG),
        over("warm start by python -I -m entrypoint over psycopg's", series[4], series[2]),
        over("warm start over native psql -c 'select 1'", series[5], series[3]),
    ]


def dbmate(world: World) -> list[Row]:
    """Ours over `dbmate --wait up`, the same tables, nothing to do."""
    folder = world.home / "dbmate"
    folder.mkdir()
    world.npm(f"install --ignore-scripts dbmate@{DBMATE}", folder)
    binary = next(iter(folder.glob("node_modules/@dbmate/*/bin/dbmate")), None)
    if binary is None:
        raise SkippedError(f"its package has no binary for {platform.machine()}")
    ours = replace(world.warm, argv=[*IMAGE, *OURS[4:]])
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
    ratio = Ratio.of(*series)
    return [
        Row(
            f"ours, warm, over dbmate {DBMATE} --wait up, nothing to do",
            milliseconds(series[0]),
            milliseconds(series[1]),
            str(ratio),
            str(runs),
            f"≤ {MAX_OVER_DBMATE:.1f} x",
            ratio.median <= MAX_OVER_DBMATE,
        ),
        *_at_once(world, ours, replace(ours, argv=[PYTHON, "-I", "-c", PSYCOPG]), other),
    ]


def _at_once(world: World, ours: Command, psycopg: Command, other: Command) -> list[Row]:
    """Seconds of CPU of many starts at once, as on a node that comes back; the server's are not."""
    runs = world.times(3)
    rounds = [[each.cpu_s(AT_ONCE) for each in (ours, psycopg, other)] for _ in range(runs)]
    took, least, theirs = (list(column) for column in zip(*rounds, strict=True))
    title = f"{AT_ONCE} starts at once with nothing to do, CPU"
    return [
        Row(
            f"{title}, over {name}",
            f"{statistics.median(took):.1f} s",
            f"{statistics.median(seconds):.1f} s",
            str(Ratio.of(took, seconds)),
            str(runs),
        )
        for name, seconds in (("psycopg's", least), (f"dbmate {DBMATE}", theirs))
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
