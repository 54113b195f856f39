"""Rows about many starts at once on an empty server: who works, and how soon the others go on."""

from __future__ import annotations

import statistics
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import BenchError, Row, SkippedError
from bench.world import Service
from tests.support.program import Program, python, toml

if TYPE_CHECKING:
    from bench.world import World

REPLICAS = 20


def replicas(world: World) -> list[Row]:
    """20 of a service whose push and seed are small Python programs, and 20 of the Node one."""
    rows = _rows(world, _small(world), world.times(3))
    try:
        rows += _rows(world, world.node, world.times(3))
    except SkippedError as reason:
        rows.append(Row(f"{REPLICAS} replicas at once, node-service", f"skipped: {reason}"))
    return rows


def _small(world: World) -> Service:
    directory = world.home / "small-service"
    directory.mkdir()
    inputs = ["entrypoint.toml"]
    push = {"command": python("push"), "inputs": inputs}
    seed = {"command": python("seed", "{tenant_id}"), "inputs": inputs}
    (directory / inputs[0]).write_text(toml({"push": push, "seed": seed}))
    return Service("a push and a seed in Python", directory, world.database())


def _rows(world: World, service: Service, rounds: int) -> list[Row]:
    counts: list[tuple[int, int, int]] = []
    followed: list[float] = []
    lasted: list[float] = []
    for _ in range(rounds):
        world.drop(service.database)
        programs = _start(world, service)
        codes = [program.wait(timeout=120) for program in programs]
        counts.append(
            (
                sum(len(program.all("push.started")) for program in programs),
                sum(len(program.all("seed.started")) for program in programs),
                codes.count(0),
            )
        )
        leaders = [_at(p.one("seed.finished")) for p in programs if p.all("seed.finished")]
        if not leaders:
            raise BenchError(f"none of {REPLICAS} replicas seeded: {programs[0].output[-2000:]}")
        last = max(_at(p.one("handoff.executed")) for p in programs if p.all("handoff.executed"))
        followed.append(last - max(leaders))
        lasted.append(last - min(_at(program.events[0]) for program in programs))
    met = set(counts) == {(1, 1, REPLICAS)}
    shown = sorted(set(counts))
    pushes, seeds, zeros = ("/".join(str(count[n]) for count in shown) for n in range(3))
    title = f"{REPLICAS} replicas at once on an empty server, {service.name}"
    return [
        Row(
            title,
            f"{pushes} push, {seeds} seed, {zeros} succeed",
            runs=str(rounds),
            bound=f"1 push, 1 seed, {REPLICAS} succeed",
            met=met,
        ),
        Row(
            f"{title}: from the leader's seed to the last exec",
            _spread(followed),
            runs=str(rounds),
        ),
        Row(f"{title}: from the first event to the last exec", _spread(lasted), runs=str(rounds)),
    ]


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"


def _start(world: World, service: Service) -> list[Program]:
    programs: list[Program] = []
    environ = world.environ(service.database)
    words = ("run", "--", "true")
    try:
        for _ in range(REPLICAS):
            started = Program.start(
                *words, environ=environ, directory=Path(service.directory), start_new_session=True
            )  # an option, so it is no fork of an interpreter that knows the program
            programs.append(started)
    except BaseException:
        for program in programs:
            program.process.kill()
        raise
    return programs


def _at(event: dict[str, str]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()
