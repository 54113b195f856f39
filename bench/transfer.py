"""Rows about moving a service: the whole command over what operators use instead."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psycopg import sql

from bench.measure import Command, Ratio, Row, SkippedError, interleaved, milliseconds
from bench.source import SMALL, TYPES, durable, fill, many

if TYPE_CHECKING:
    from bench.world import World

MAX_ONLINE = 1.10
MAX_COMPARED = 0.20
MAX_REHEARSED = 0.10
MAX_MB = 120.0
MAX_LINEAR = 1.2
MAX_MANY_MB = 250.0

MANY = (200, 2_000, 5_000)
"""Tables; the last once."""

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
# Our answer and our log, and when we began: a file of each for each run.
OURS: Final = """
date +%s.%N > "$0/began-$$"
exec "$@" > "$0/answer-$$.json" 2> "$0/log-$$"
"""
PHASES: Final = ("lock", "dump", "restore", "analyze", "compare", "swap")
"""Those in which nobody can write."""


@dataclass
class Bench:
    """A source to move from, and a place for each way to move it."""

    world: World
    source: str
    target: str

    @classmethod
    def of(cls, world: World, source: str) -> Bench:
        """Of a database that is there."""
        made = cls(world, source, world.database())
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
        there = "select nspname from pg_namespace where starts_with(nspname, 'moved_')"
        for (schema,) in self.world.execute(sql.SQL(there), self.source):
            for kind, query in KINDS.items():
                names = self.world.execute(sql.SQL(query).format(sql.Literal(schema)), self.source)
                for first in range(0, len(names), 200):
                    statement = sql.SQL(f"alter {kind} {{}} set schema public")
                    each = [sql.Identifier(schema, name) for (name,) in names[first : first + 200]]
                    self.world.execute(sql.SQL(";").join(map(statement.format, each)), self.source)
            drop = sql.SQL("drop schema {}").format(sql.Identifier(schema))
            self.world.execute(drop, self.source)
        self.world.drop(self.target)
        self.world.execute(sql.SQL("checkpoint"))

    def told(self) -> list[Told]:
        """What each run so far said of itself, the oldest first."""
        home = self.world.home / "answers"
        files = sorted(home.glob("answer-*"), key=lambda path: path.stat().st_mtime_ns)
        return [Told.read(path) for path in files]

    def rows(self, database: str) -> int:
        """How many rows a way has moved."""
        tables = sql.SQL(" + ").join(
            sql.SQL("(select count(*) from {})").format(sql.Identifier(name))
            for name in ("rpg_heroes", "rpg_items", "rpg_events")
        )
        return int(self.world.execute(sql.SQL("select {}").format(tables), database)[0][0])


KINDS: Final = {
    "table": "select relname from pg_class"
    " where relkind in ('r', 'p') and relnamespace = {}::regnamespace",
    "type": "select typname from pg_type where typtype = 'e' and typnamespace = {}::regnamespace",
}


@dataclass(frozen=True)
class Told:
    """A run by its own account, in seconds."""

    durations: dict[str, float]
    before_s: float
    """From its start to its first lock."""

    @classmethod
    def read(cls, answer: Path) -> Told:
        """Of the files of one run."""
        number = answer.stem.removeprefix("answer-")
        began = float(answer.with_name(f"began-{number}").read_text())
        lines = answer.with_name(f"log-{number}").read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        locked = next(e for e in events if e["event"].endswith("started") and e["phase"] == "lock")
        at = datetime.fromisoformat(locked["timestamp"]).timestamp()
        return cls(json.loads(answer.read_text())["durations_s"], at - began)

    @property
    def waits_s(self) -> float:
        """How long nobody could write."""
        return sum(self.durations[phase] for phase in PHASES)


def transfer(shared: World) -> list[Row]:
    """A transfer over the tools, the recipe and pgcopydb, on a durable server."""
    with durable(shared.runs) as world:
        return [*_times(Bench.of(world, fill(world))), _memory(world)]


def tables(shared: World) -> list[Row]:
    """Many tables: the time for each, and the memory."""
    with durable(shared.runs) as world:
        few, more, most = (Bench.of(world, many(world, number)) for number in MANY)
        runs = world.times(3)
        took = interleaved([few.ours(), more.ours()], runs)
        each = [[s / number for s in series] for number, series in zip(MANY, took, strict=False)]
        ratio = Ratio.of(each[1], each[0])
        rows = [
            Row(
                f"transfer of {MANY[1]:,} tables over one of {MANY[0]:,}, for each table",
                f"{statistics.median(each[1]) * 1000:.1f} ms",
                f"{statistics.median(each[0]) * 1000:.1f} ms",
                str(ratio),
                str(runs),
                f"≤ {MAX_LINEAR:.2f} x",
                ratio.median <= MAX_LINEAR,
            )
        ]
        for bench, number in ((more, MANY[1]), (most, MANY[2])):
            began = time.monotonic()
            peak = _peak(bench)
            rows.append(
                Row(
                    f"peak memory of a transfer of {number:,} tables, on default settings",
                    f"{peak:.1f} MB",
                    f"{time.monotonic() - began:.0f} s",
                    runs="1",
                    bound=f"≤ {MAX_MANY_MB:.0f} MB",
                    met=peak <= MAX_MANY_MB,
                )
            )
        return rows


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
    told = bench.told()[-runs:]
    waits = [each.waits_s for each in told]
    aside = [each.waits_s - each.durations["compare"] for each in told]
    tools, *others = theirs
    first, *names = ways
    what = "transfer, from its locks to its commit"
    rows = [_row(f"{what}, comparison aside, over {first}", aside, tools, MAX_ONLINE)]
    rows += [
        _row(f"{what}, over {name}", waits, took, 1.0)
        for name, took in zip(names, others, strict=True)
    ]
    return [*rows, *skipped, *_shares(told, online)]


def _shares(told: list[Told], online: list[float]) -> list[Row]:
    compared = [each.durations["compare"] for each in told]
    waits = [each.waits_s for each in told]
    rows = [
        _share("the comparison's share of that", compared, waits, MAX_COMPARED),
        Row(
            "the plan of a transfer, before its locks: nobody waits",
            milliseconds([each.before_s for each in told]),
            milliseconds(online),
            runs=str(len(told)),
        ),
    ]
    if all("rehearse" in each.durations for each in told):
        rehearsed = [each.durations["rehearse"] for each in told]
        what = f"the rehearsal's share of a transfer, 200 MB and {8 + SMALL} tables"
        rows.append(_share(what, rehearsed, online, MAX_REHEARSED))
    return rows


def _share(what: str, part: list[float], whole: list[float], limit: float) -> Row:
    share = [one / all_ for one, all_ in zip(part, whole, strict=True)]
    median = statistics.median(share)
    return Row(
        what,
        milliseconds(part),
        milliseconds(whole),
        f"{median:.0%} ({min(share):.0%}-{max(share):.0%})",
        str(len(part)),
        f"≤ {limit:.0%}",
        median <= limit,
    )


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
    return [Bench.of(world, fill(world, times)) for times in (1, 4)]


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
