"""Rows about the shell script that users have today, by its PostgreSQL clients and its push."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import Command, Ratio, Row, interleaved, milliseconds, nothing
from bench.world import COLD, WARM, verified

if TYPE_CHECKING:
    from bench.world import Service, World

SCRIPT = Path(__file__).with_suffix(".sh")
MIN_GAIN = {"cold": 1.0, "warm": 6.0}
RUNS = {"cold": 6, "warm": 10}


def script(world: World) -> list[Row]:
    """The script over ours, on an empty server and with nothing to do; the same push in both.

    The bounds are for Debian's clients and a push through npx, as Drizzle documents it. Where PATH
    has other clients, the row says so.
    """
    native = world.tools() / "psql"
    packaged = Path(shutil.which("psql") or native)
    rows = _rows(world, world.npx, packaged, "npx drizzle-kit push", MIN_GAIN)
    # The example's own push comes last: the other rows find their service as they left it.
    for psql in {_kind(psql): psql for psql in (packaged, native)}.values():
        rows += _rows(world, world.node, psql, "drizzle-kit without npx", {})
    return rows


def _rows(
    world: World, service: Service, psql: Path, push: str, limits: dict[str, float]
) -> list[Row]:
    environ = world.environ(
        service.database, ADMIN_URL=world.server.url("postgres"), DB_NAME=service.database
    )
    environ["PATH"] = f"{_folder(world, psql)}:{environ['PATH']}"
    today = Command(["sh", SCRIPT, "true"], environ, service.directory)
    empty = partial(world.drop, service.database)
    rows = []
    for state, ends, before in (("cold", COLD, empty), ("warm", WARM, nothing)):
        pair = [replace(each, before=before) for each in (world.ours(service), today)]
        verified(pair[0], ends)
        ours, other = interleaved(pair, world.times(RUNS[state]))
        verified(pair[0], ends)  # still, and nothing to do is what the next rows begin with
        ratio = Ratio.of(other, ours)
        limit = limits.get(state)
        rows.append(
            Row(
                f"today's shell script ({_kind(psql)}, {push}) over ours, {state}",
                milliseconds(ours),
                milliseconds(other),
                str(ratio),
                str(len(ours)),
                f"≥ {limit:.1f} x" if limit else "",
                ratio.median >= limit if limit else None,
            )
        )
    return rows


def _kind(psql: Path) -> str:
    return "Debian's psql" if psql.resolve().name == "pg_wrapper" else "native psql"


def _folder(world: World, psql: Path) -> Path:
    """A folder for PATH that brings the clients and nothing else, not another Node."""
    folder = Path(tempfile.mkdtemp(dir=world.home))
    for name in ("psql", "pg_isready"):
        (folder / name).symlink_to(psql.with_name(name))
    return folder
