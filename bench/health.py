"""Rows about `entrypoint health` beside what else asks a service whether it is well."""

from __future__ import annotations

import os
import shutil
import statistics
from typing import TYPE_CHECKING

from bench.inside import peak_mb
from bench.measure import Command, Ratio, Row, interleaved, milliseconds
from bench.world import IMAGE, PYTHON
from entrypoint.health import state
from tests.support.site import Site, http

if TYPE_CHECKING:
    from bench.world import World

MAX_MS = 60.0
MAX_MB = 16.0
MAX_OVER_BARE = 1.6
BARE = "a bare interpreter"

FETCH = "fetch(process.argv[1]).then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"


def probe(world: World) -> list[Row]:
    """One probe of a service that is well: whole processes, and the most memory they have had."""
    folder = world.home / "health"
    folder.mkdir()
    values = {"pid": str(os.getpid()), "phase": state.STARTED, "since": "0"}
    state.replace(str(folder), values)
    with Site(http(body=b"ok")) as site:
        url = site.url("/v1/health")
        others = {
            "curl -fsS": ["curl", "-fsS", "-o", "/dev/null", url],
            "wget -qO-": ["wget", "-q", "-O", "/dev/null", url],
            "node -e fetch": ["node", "-e", FETCH, url],
        }
        environ = {**world.environ("none"), "ENTRYPOINT_STATE_DIR": str(folder)}
        ours = [*IMAGE, "health", "--url", url]
        others = {BARE: [PYTHON, "-IS", "-c", "pass"], **others}
        paths = {name: shutil.which(argv[0]) for name, argv in others.items()}
        named = {name: [path, *others[name][1:]] for name, path in paths.items() if path}
        commands = [Command(argv, environ, folder) for argv in (ours, *named.values())]
        runs = world.times(15)
        took, *rest = interleaved(commands, runs)
        peak, *peaks = (peak_mb(command, world.times(5)) for command in commands)
    median_ms = statistics.median(took) * 1000
    rows = [
        Row(
            "entrypoint health",
            f"{median_ms:.0f} ms, {peak:.1f} MB",
            runs=str(runs),
            bound=f"≤ {MAX_MS:.0f} ms, ≤ {MAX_MB:.0f} MB",
            met=median_ms <= MAX_MS and peak <= MAX_MB,
        )
    ]
    for name, seconds, megabytes in zip(named, rest, peaks, strict=True):
        ratio = Ratio.of(took, seconds)
        bounded = name == BARE
        rows.append(
            Row(
                f"entrypoint health over {name}",
                milliseconds(took),
                f"{milliseconds(seconds)}, {megabytes:.1f} MB",
                str(ratio),
                str(runs),
                f"≤ {MAX_OVER_BARE:.1f} x" if bounded else "",
                ratio.median <= MAX_OVER_BARE if bounded else None,
            )
        )
    return rows
