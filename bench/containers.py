"""Rows about containers: what a start costs inside one, and what it adds to `docker run`."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess  # noqa: TID251  the monopoly holds in the program
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.measure import BenchError, Command, Ratio, Row, SkippedError, interleaved, milliseconds
from bench.starts import LEAST, PSYCOPG
from bench.world import WARM, verified
from tests.support.compose import COMPOSES
from tests.support.engine import DOCKER, PAYLOADS, built, docker, running, two_lines, unique
from tests.support.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.world import World

MAX_OVER_OUTSIDE = 1.15
MAX_OVER_FEW = 1.1
MAX_STACK_S = 90
START = ("/opt/entrypoint/bin/entrypoint", "run", "--", "true")
FOLDER = "/app"

# The image's own Node takes the time, by the clock of where it runs; the first is not counted.
CLOCK = """
const { spawnSync } = require("child_process");
const times = [];
for (let run = 0; run < 4; run++) {
  const began = process.hrtime.bigint();
  const { status } = spawnSync(process.argv[1], process.argv.slice(2), { stdio: "ignore" });
  times.push(Number(process.hrtime.bigint() - began) / 1e9);
  if (status !== 0) process.exit(1);
}
console.log(JSON.stringify(times.slice(1)));
"""

# A mount namespace of its own: what is mounted for the start goes with it.
OUTSIDE = """
mount --bind /proc "$0/proc" && mount --bind /dev "$0/dev" && mount --bind "$1" "$0/app" || exit
shift; exec unshare --root "$0" --wd /app "$@"
"""


def inside(world: World) -> list[Row]:
    """The same warm start of the same files, in a container and in a chroot without one."""
    if os.geteuid() != 0:
        raise SkippedError("chroot needs root")
    rows: list[Row] = []
    for base in PAYLOADS:
        with built(None, dockerfile=two_lines(base)) as image, _unpacked(world, image) as root:
            environ, folder = _service(world)
            options = [*_options(environ, folder), "--entrypoint", "sleep"]
            with running(image, "600", options=options) as container:
                within = Command([DOCKER, "exec", container.name], _client(), world.home)
                argv: list[str | Path] = ["unshare", "--mount", "sh", "-c", OUTSIDE, root, folder]
                both = (within, Command(argv, environ, world.home))
                for how in both:
                    verified(_with(how, *START), WARM)
                runs = world.times(15)
                series = [[_median(how) for how in both] for _ in range(runs)]
                floors = [_payloads(code) for code in (LEAST, PSYCOPG)]
                least = [[_median(both[1], argv) for argv in (START, *floors)] for _ in range(runs)]
        ours, other = (list(column) for column in zip(*series, strict=True))
        rows += _over_floors(base, least)
        ratio = Ratio.of(ours, other)
        rows.append(
            Row(
                f"warm start in a container of {base} over the same outside",
                milliseconds(ours),
                milliseconds(other),
                str(ratio),
                str(runs),
                f"≤ {MAX_OVER_OUTSIDE} x",
                ratio.median <= MAX_OVER_OUTSIDE,
            )
        )
    return rows


def _payloads(code: str) -> tuple[str, ...]:
    """A program for the payload's interpreter, as the start itself begins."""
    packages = "/opt/entrypoint/python/lib/site-packages"
    begin = f"import sys; sys.path.insert(0, {packages!r})\n"
    return "/opt/entrypoint/python/bin/python3", "-IS", "-c", begin + code


def _over_floors(base: str, series: list[list[float]]) -> Iterator[Row]:
    took, *floors = (list(column) for column in zip(*series, strict=True))
    for name, least in zip(("the floor", "psycopg's"), floors, strict=True):
        shown = milliseconds(took), milliseconds(least), str(Ratio.of(took, least))
        yield Row(f"warm start of the payload over {name}, {base}", *shown, str(len(took)))


def run(world: World) -> list[Row]:
    """The whole of `docker run`, with a warm start and without."""
    rows = []
    for base in PAYLOADS:
        with built(None, dockerfile=two_lines(base)) as image:
            environ, folder = _service(world)
            words = [DOCKER, "run", "--rm", *_options(environ, folder)]
            bare = Command([*words, base, "true"], _client(), world.home)
            ours = verified(Command([*words, image, "true"], _client(), world.home), WARM)
            runs = world.times(15)
            series = interleaved([ours, bare], runs)
        rows.append(
            Row(
                f"docker run of `entrypoint run -- true` over `true`, {base}",
                milliseconds(series[0]),
                milliseconds(series[1]),
                str(Ratio.of(*series)),
                str(runs),
            )
        )
    return rows


def limits(world: World) -> list[Row]:
    """The whole of `docker run` with the most descriptors that the engine allows, and with 1024."""
    rows = []
    for base in PAYLOADS:
        most = docker("run", "--rm", base, "sh", "-c", "ulimit -H -n").stdout.strip()
        with built(None, dockerfile=two_lines(base)) as image:
            environ, folder = _service(world)
            words = [DOCKER, "run", "--rm", *_options(environ, folder), "--ulimit"]
            commands = [
                Command([*words, f"nofile={limit}:{limit}", image, "true"], _client(), world.home)
                for limit in (most, "1024")
            ]
            verified(commands[0], WARM)
            runs = world.times(15)
            series = interleaved(commands, runs)
        ratio = Ratio.of(*series)
        rows.append(
            Row(
                f"docker run with nofile={most} over 1024, {base}",
                milliseconds(series[0]),
                milliseconds(series[1]),
                str(ratio),
                str(runs),
                f"≤ {MAX_OVER_FEW} x",
                ratio.median <= MAX_OVER_FEW,
            )
        )
    return rows


def stack(world: World) -> list[Row]:
    """`up` of docker-compose.test.yml, from nothing to healthy services, images built."""
    rows = []
    for name, installed in COMPOSES.items():
        what = f"{name} up, from nothing to six healthy services"
        with installed() as compose:
            if compose is None:
                rows.append(Row(what, "skipped: it is not installed"))
                continue
            made = Stack(compose)
            try:
                made.use(1)
                times = [_up(made) for _ in range(world.times(5))]
            finally:
                made.close()
        took = statistics.median(times)
        bound, met = f"≤ {MAX_STACK_S} s", took <= MAX_STACK_S
        spread = f"{took:.1f} s ({min(times):.1f}-{max(times):.1f})"
        rows.append(Row(what, spread, runs=str(len(times)), bound=bound, met=met))
    return rows


def _up(made: Stack) -> float:
    began = time.monotonic()
    made.up()
    took = time.monotonic() - began
    made.down()
    return took


def _service(world: World) -> tuple[dict[str, str], Path]:
    """A service that has nothing to push or seed any more: its environment and its folder."""
    command = world.warm
    kept = {name: value for name, value in command.environ.items() if name != "PATH"}
    return {**kept, "PATH": "/usr/local/bin:/usr/bin:/bin"}, command.directory


def _options(environ: dict[str, str], folder: Path) -> list[str]:
    variables = [word for item in environ.items() for word in ("--env", "=".join(item))]
    return ["--network", "host", "--volume", f"{folder}:{FOLDER}", "--workdir", FOLDER, *variables]


def _client() -> dict[str, str]:
    return dict(os.environ)  # noqa: TID251  the engine's client finds its engine there


@contextmanager
def _unpacked(world: World, image: str) -> Iterator[Path]:
    """An image's files in a folder."""
    root, name = world.home / unique("root"), unique("export")
    root.mkdir()
    docker("create", "--name", name, image)
    try:
        tar = world.home / f"{name}.tar"
        docker("export", "--output", tar, name)
        subprocess.run(["tar", "-C", root, "-xf", tar], check=True)  # noqa: S603, S607  as above
        (root / FOLDER[1:]).mkdir(exist_ok=True)
        yield root
    finally:
        docker("rm", name)
        shutil.rmtree(root)


def _with(how: Command, *argv: str) -> Command:
    return replace(how, argv=[*how.argv, *argv])


def _median(how: Command, argv: Sequence[str] = START) -> float:
    """What the clock says of a program; the middle of its three."""
    command = _with(how, "node", "-e", CLOCK, *argv)
    said = command.output().strip().splitlines()[-1]
    try:
        times: Sequence[float] = sorted(json.loads(said))
    except ValueError:
        raise BenchError(f"{command.argv} says {said}") from None
    return times[len(times) // 2]
