"""Rows about one warm start: what it imports, its memory, its connections and children."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.measure import Command, Row, markdown
from bench.proxy import Proxy
from bench.starts import PSYCOPG
from bench.world import OURS, PYTHON, without_tls
from tests.support.server import Endpoint

if TYPE_CHECKING:
    from bench.world import World

MAX_MB = 30.0
MAX_ROUND_TRIPS = 2

SHOWN = ("psycopg", "psycopg_binary", "typing_extensions", "structlog", "asyncio", "entrypoint")
REST = "rest of the standard library"

# Runs a program up to its exec, and then tells what was loaded and what was started meanwhile.
OBSERVER = """
import os, sys
started = []
sys.addaudithook(
    lambda name, _: started.append(name)
    if name in {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
    else None
)
def stop(*_):
    loaded = [name for name, module in sys.modules.items() if module is not None]
    import json
    os.write(1, json.dumps({"loaded": loaded, "started": started}).encode() + b"\\n")
    os._exit(0)
os.execve = os.execvp = stop
"""
OBSERVE_OURS = f"""{OBSERVER}
import runpy
sys.argv[1:] = {OURS[4:]}
runpy.run_module("entrypoint", run_name="__main__")
"""

# From a process as small as can be: a child's peak begins with what its parent had.
MEMORY = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def connections(world: World) -> list[Row]:
    """Count a warm start's connections and round trips in a proxy, its children by audit events."""
    ours = world.warm
    with Proxy(world.server.host, world.server.port) as proxy:
        through = Endpoint.from_url(world.server.url())
        through.host, through.port = "127.0.0.1", proxy.port
        url = without_tls(through.url(world.service.database))
        events = replace(ours, environ={**ours.environ, "DATABASE_URL": url}).output()
    assert "push.skipped" in events  # noqa: S101  the counts are a warm start's
    started = _observe(ours, OBSERVE_OURS)["started"]
    trips, children = proxy.round_trips, len(started)
    return [
        Row(
            "connections of a warm start",
            str(proxy.connections),
            runs="1",
            bound="≤ 1",
            met=proxy.connections <= 1,
        ),
        Row(
            "round trips after the connection is there",
            str(trips),
            runs="1",
            bound=f"≤ {MAX_ROUND_TRIPS}",
            met=trips <= MAX_ROUND_TRIPS,
        ),
        Row("children", str(children), runs="1", bound="0", met=not children),
    ]


def memory(world: World) -> list[Row]:
    """The most memory that a warm start has had."""
    ours = world.warm
    runs = world.times(5)
    floor = replace(ours, argv=[PYTHON, "-I", "-c", PSYCOPG])
    peaks = [peak_mb(command, runs) for command in (replace(ours, argv=OURS), floor)]
    return [
        Row(
            "peak memory of a warm start over the floor's",
            f"{peaks[0]:.1f} MB",
            f"{peaks[1]:.1f} MB",
            f"{peaks[0] / peaks[1]:.2f} x",
            str(runs),
            f"≤ {MAX_MB:.0f} MB",
            peaks[0] <= MAX_MB,
        )
    ]


def peak_mb(command: Command, runs: int) -> float:
    """The most memory that a command has had, in MB: the median of some runs."""
    observed = replace(command, argv=[PYTHON, "-I", "-S", "-c", MEMORY, *command.argv])
    said = [observed.output().splitlines()[-1] for _ in range(runs)]
    return statistics.median(int(kib) for kib in said) * 1024 / 1e6


def imports(world: World) -> str:
    """The table of what a warm start imports, and of what of it the floor does not."""
    ours = world.warm
    loaded = _observe(ours, OBSERVE_OURS)["loaded"]
    floors = set(_observe(ours, OBSERVER + PSYCOPG)["loaded"])
    runs = [_self_times(ours) for _ in range(world.times(5))]
    cost = {name: statistics.median(run.get(name, 0.0) for run in runs) for name in loaded}
    counts: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for name in loaded:
        for label, taken in (("", True), ("+", name not in floors)):
            if taken:
                for package in (_package(name), "all"):
                    counts[label + package] += 1
                    sums[label + package] += cost[name]  # type: ignore[assignment]
    rows = [
        [
            package,
            str(counts[package]),
            f"{sums[package]:.1f}",
            str(counts[f"+{package}"]),
            f"{sums[f'+{package}']:.1f}",
        ]
        for package in (*SHOWN, REST, "all")
    ]
    head = ["imports of a warm start", "modules", "ms", "not in the floor: modules", "ms"]
    return markdown(head, rows)


def _package(name: str) -> str:
    top = name.split(".", maxsplit=1)[0]
    return top if top in SHOWN else REST


def _observe(ours: Command, code: str) -> dict[str, list[str]]:
    said = replace(ours, argv=[PYTHON, "-I", "-c", code]).output().splitlines()[-1]
    seen: dict[str, list[str]] = json.loads(said)
    return seen


def _self_times(ours: Command) -> dict[str, float]:
    """Milliseconds by module, without what it imported itself; measuring adds some to each."""
    said = replace(ours, argv=[PYTHON, "-X", "importtime", *OURS[1:]]).output()
    times = {}
    for line in said.splitlines():
        head, _, name = line.rpartition("|")
        if head.startswith("import time:") and "self" not in head:
            own, _, _ = head.removeprefix("import time:").partition("|")
            times[name.strip()] = int(own) / 1000
    return times
