"""Rows about operators' commands on a server with many databases."""

from __future__ import annotations

import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

from psycopg import sql

from bench.inside import peak_mb
from bench.measure import BenchError, Command, Row
from bench.schema import TABLES
from bench.world import PYTHON

if TYPE_CHECKING:
    from bench.world import World

DATABASES, SIZE = 500, 50
MAX_S = 20.0
MAX_SESSIONS = 5

SESSIONS = "select count(*) from pg_stat_activity where application_name = 'entrypoint/operator'"


def operators(world: World) -> list[Row]:
    """Both commands, over all databases; that they answered for each is made sure first.

    Beside the seconds, the most memory that one has had and the most sessions at once.
    """
    environ = _databases(world)
    runs = world.times(5)
    rows = []
    for command, answers in (("verify", "databases"), ("status", "services")):
        argv = [PYTHON, "-I", "-m", "entrypoint", command, "--json"]
        operator = Command(argv, environ, world.home)
        said = json.loads(operator.output())
        if len(said[answers]) < DATABASES or said.get("failures"):
            raise BenchError(f"{command} did not look at every database: {said}")
        seconds = [operator.seconds() for _ in range(runs)]
        median = statistics.median(seconds)
        peak, sessions = peak_mb(operator, 1), _most_sessions(world, operator)
        rows.append(
            Row(
                f"{command}, {DATABASES} databases of {SIZE} tables",
                f"{median:.1f} s ({min(seconds):.1f}-{max(seconds):.1f}), {peak:.0f} MB, "
                f"{sessions} connections",
                runs=str(runs),
                bound=f"≤ {MAX_S:.0f} s, ≤ {MAX_SESSIONS} connections",
                met=median <= MAX_S and sessions <= MAX_SESSIONS,
            )
        )
    return rows


def _most_sessions(world: World, operator: Command) -> int:
    """Look without a pause while it runs."""
    over = Event()

    def look() -> int:
        seen = [0]
        with world.server.connect() as connection:
            while not over.is_set():
                seen += [count for (count,) in connection.execute(SESSIONS).fetchall()]
        return max(seen)

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            operator.output()
        finally:
            over.set()
        return looking.result()


def _databases(world: World) -> dict[str, str]:
    """Create them, all alike, and register a service for each; the variables of an operator."""
    model, *names = (world.database() for _ in range(DATABASES + 1))
    world.create(model)
    world.execute(TABLES.format(first=1, last=SIZE).encode(), model)
    create = sql.SQL("create database {} template {}")
    for name in names:
        world.execute(create.format(sql.Identifier(name), sql.Identifier(model)))
    registry = world.home / "services.toml"
    rows = [f'[service-{number}]\ndatabase = "{name}"\n' for number, name in enumerate(names)]
    registry.write_text("".join(rows))
    return world.environ("postgres", ENTRYPOINT_SERVICES=str(registry))
