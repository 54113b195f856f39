"""Rows about moving a service: the whole command over what operators use instead."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psycopg import sql

from bench.measure import Command, Ratio, Row, SkippedError, interleaved, milliseconds
from bench.source import TYPES, durable, fill

if TYPE_CHECKING:
    from bench.world import World

MAX_ONLINE = 1.15
MAX_COMPARED = 0.25
MAX_MB = 120.0

SERVICE = "bench-rpg"

# $1 is the folder of the tools, $2 one for files, $3 the database to fill.
TOOLS: Final = """
rm -rf "$2/dump"
"$1/pg_dump" -Fd -j2 -Z0 -f "$2/dump" -d "$DATABASE_URL" -T public.sso_users
"$1/pg_restore" -j2 -e -d "${DATABASE_URL%/*}/$3" "$2/dump"
"""
RECIPE: Final = """
to="${DATABASE_URL%/*}/$3"
"$1/pg_dump" "$DATABASE_URL" -t 'rpg_*' --schema-only > "$2/schema.sql"
"$1/psql" "$to" -f "$2/schema.sql" > "$2/log" 2>&1
"$1/pg_dump" "$DATABASE_URL" -t 'rpg_*' --data-only > "$2/data.sql"
"$1/psql" "$to" -f "$2/data.sql" > "$2/log" 2>&1
"""
PGCOPYDB: Final = """
rm -rf "$2/pgcopydb"
PATH="$1:$PATH" pgcopydb clone --dir "$2/pgcopydb" --table-jobs 2 --index-jobs 2 \
  --source "$DATABASE_URL" --target "${DATABASE_URL%/*}/$3" > "$2/log" 2>&1
"""
# Who writes 1: our answer, a file for each run.
OURS: Final = 'exec "$@" > "$0/answer-$$.json"'


@dataclass
class Bench:
    """A source to move from, and a place for each way to move it."""

    world: World
    source: str
    target: str

    @classmethod
    def of(cls, world: World, times: int = 1) -> Bench:
        """Make it, so many times its size."""
        made = cls(world, fill(world, times), world.database())
        registry = f'[{SERVICE}]\ndatabase = "{made.target}"\nprefixes = ["rpg_"]\n'
        (world.home / f"{made.target}.toml").write_text(registry)
        return made

    def ours(self) -> Command:
        """A transfer, that what it moved is put back before."""
        registry = str(self.world.home / f"{self.target}.toml")
        environ = self.world.environ(
            self.source, ENTRYPOINT_SERVICES=registry, PG_BINDIR=str(self.world.tools())
        )
        argv = [sys.executable, "-I", "-m", "entrypoint", "transfer", SERVICE]
        argv += ["--from", self.source, "--yes", "--json"]
        home = self.world.home / "answers"
        home.mkdir(exist_ok=True)
        return Command(["sh", "-c", OURS, home, *argv], environ, self.world.home, self.back)

    def theirs(self, script: str, prepare: str = "") -> Command:
        """A script that fills a database; what is in `prepare` is done for it before, uncounted."""
        name = self.world.database()
        folders = str(self.world.tools()), str(self.world.home)
        argv = ["sh", "-ec", script, "sh", *folders, name]
        before = partial(self.empty, name, prepare)
        return Command(argv, self.world.environ(self.source), self.world.home, before)

    def empty(self, name: str, prepare: str) -> None:
        """Make a database anew, and let the server rest."""
        self.back()
        self.world.drop(name)
        self.world.create(name)
        for statement in filter(None, prepare.split(";")):
            self.world.execute(sql.SQL(statement), name)
        self.world.execute(sql.SQL("checkpoint"))

    def back(self) -> None:
        """Put the source's objects back where they were, leave no target; nothing is to be written.

        Else a run would pay for what the one before it left in the server's memory.
        """
        undo = "select nspname from pg_namespace where starts_with(nspname, 'moved_')"
        for (schema,) in self.world.execute(sql.SQL(undo), self.source):
            for kind, names in KINDS.items():
                for name in names:
                    statement = sql.SQL(f"alter {kind} {{}} set schema public")
                    self.world.execute(statement.format(sql.Identifier(schema, name)), self.source)
            drop = sql.SQL("drop schema {}").format(sql.Identifier(schema))
            self.world.execute(drop, self.source)
        self.world.drop(self.target)
        self.world.execute(sql.SQL("checkpoint"))

    def compared(self) -> list[float]:
        """Seconds of comparison in each run so far, the oldest first."""
        home = self.world.home / "answers"
        files = sorted(home.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(path.read_text())["durations_s"]["compare"] for path in files]

    def rows(self, database: str) -> int:
        """How many rows a way has moved."""
        tables = sql.SQL(" + ").join(
            sql.SQL("(select count(*) from {})").format(sql.Identifier(name))
            for name in ("rpg_heroes", "rpg_items", "rpg_events")
        )
        return int(self.world.execute(sql.SQL("select {}").format(tables), database)[0][0])


KINDS: Final = {
    "table": ("rpg_heroes", "rpg_items", "rpg_events", *(f"rpg_events_{i}" for i in range(1, 5))),
    "type": ("rpg_class",),
}


def transfer(shared: World) -> list[Row]:
    """A transfer over the tools, the recipe and pgcopydb, on a durable server."""
    with durable(shared.runs) as world:
        return [*_times(Bench.of(world)), _memory(world)]


def _times(bench: Bench) -> list[Row]:
    runs = bench.world.times(5)
    ways = {
        "pg_dump -Fd -j2 -Z0 and pg_restore -j2": bench.theirs(TOOLS),
        "the recipe, its types made before": bench.theirs(RECIPE, TYPES),
    }
    skipped = []
    try:
        ways["pgcopydb clone, 2 jobs"] = _pgcopydb(bench)
    except SkippedError as reason:
        skipped = [Row("transfer over pgcopydb", f"skipped: {reason}")]
    *theirs, online = interleaved([*ways.values(), bench.ours()], runs)
    compared = bench.compared()[-runs:]
    aside = [whole - each for whole, each in zip(online, compared, strict=True)]
    tools, *others = theirs
    first, *names = ways
    rows = [
        _row(f"transfer, comparison aside, over {first}", aside, tools, MAX_ONLINE),
    ]
    for name, took in zip(names, others, strict=True):
        rows.append(_row(f"transfer over {name}", online, took, 1.0))
    share = [each / whole for whole, each in zip(online, compared, strict=True)]
    median = statistics.median(share)
    compare = Row(
        "the comparison's share of a transfer",
        milliseconds(compared),
        milliseconds(online),
        f"{median:.0%} ({min(share):.0%}-{max(share):.0%})",
        str(runs),
        f"≤ {MAX_COMPARED:.0%}",
        median <= MAX_COMPARED,
    )
    return [*rows, *skipped, compare]


def _row(what: str, took: list[float], other: list[float], limit: float) -> Row:
    ratio = Ratio.of(took, other)
    cells = milliseconds(took), milliseconds(other), str(ratio), str(len(took))
    return Row(what, *cells, f"≤ {limit:.2f} x", ratio.median <= limit)


def _pgcopydb(bench: Bench) -> Command:
    """It, where it is on PATH and moves every row on this server; else `SkippedError`."""
    if shutil.which("pgcopydb") is None:
        raise SkippedError("pgcopydb is not on PATH")
    command = bench.theirs(PGCOPYDB)
    name = str(command.argv[-1])
    try:
        command.output()
        moved = bench.rows(name)
    except Exception as error:  # noqa: BLE001  whatever keeps it from moving anything
        log = (bench.world.home / "log").read_text(errors="replace").strip().splitlines()
        said = [line for line in log if "ERROR" in line or "FATAL" in line] or [str(error)]
        raise SkippedError(f"pgcopydb fails on this server: {said[0][-200:]}") from None
    if moved != bench.rows(bench.source):
        raise SkippedError(f"pgcopydb moved {moved} of {bench.rows(bench.source)} rows")
    return command


def _memory(world: World) -> Row:
    """The most memory that our own process has had, by the size of what it moves."""
    small, large = (_peak(bench) for bench in _sizes(world))
    return Row(
        "peak memory of a transfer of 800 MB, over one of 200 MB",
        f"{large:.1f} MB",
        f"{small:.1f} MB",
        f"{large / small:.2f} x",
        "1",
        f"≤ {MAX_MB:.0f} MB",
        large <= MAX_MB,
    )


def _sizes(world: World) -> list[Bench]:
    return [Bench.of(world), Bench.of(world, 4)]


def _peak(bench: Bench) -> float:
    """In MB; read while it runs, because the kernel's sum at the end has the tools' in it."""
    import subprocess  # noqa: TID251  the monopoly holds in the program

    command = bench.ours()
    command.before()
    process = subprocess.Popen(  # noqa: S603  of the benchmark's own
        command.argv, cwd=command.directory, env=command.environ, stderr=subprocess.DEVNULL
    )
    peak = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        lines = status.read_text().splitlines()
        peak = max([peak, *(int(line.split()[1]) for line in lines if "VmHWM" in line)])
        time.sleep(0.005)
    return peak * 1024 / 1e6
