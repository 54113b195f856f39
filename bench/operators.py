"""Rows about operators' commands on a server with many databases."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING

from psycopg import sql

from bench.measure import BenchError, Command, Row
from bench.schema import TABLES
from bench.world import PYTHON

if TYPE_CHECKING:
    from bench.world import World

DATABASES, SIZE = 300, 50
MAX_S = 20.0


def operators(world: World) -> list[Row]:
    """Both commands, over all databases; that they answered for each is made sure first."""
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
        rows.append(
            Row(
                f"{command}, {DATABASES} databases of {SIZE} tables",
                f"{median:.1f} s ({min(seconds):.1f}-{max(seconds):.1f})",
                runs=str(runs),
                bound=f"≤ {MAX_S:.0f} s",
                met=median <= MAX_S,
            )
        )
    return rows


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
