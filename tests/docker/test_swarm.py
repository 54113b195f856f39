"""deploy/swarm/stack.yml on a real Swarm: first deploy, updates, roll-backs, a kill in mid-push.

And its server: where it may run, and how long it may take.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import swarm
from tests.support.engine import Container, built, docker, unique, until
from tests.support.stage import TENANT
from tests.support.swarm import REPLICAS, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples/node-service"
SCHEMA = "src/database/schema/rpg.js"
LEVEL = "    level: integer('level').notNull().default(1),\n"
SLEEP = "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 15000);\n"

OLD, NEW, BAD, SLOW = "1.0.0", "1.1.0", "1.2.0", "1.3.0"
CHANGES = {
    OLD: {},
    NEW: {SCHEMA: (LEVEL, f"{LEVEL}    title: text('title'),\n")},
    # There are heroes already, so drizzle-kit asks, and nobody answers.
    BAD: {SCHEMA: (LEVEL, f"{LEVEL}    guild: text('guild').notNull(),\n")},
    SLOW: {"push-db.js": ("", SLEEP)},
}
"""The releases: the example, and in each of the others what is replaced in a file of a copy."""


LONG_RECOVERY = """
version: "3.9"
services:
  postgres:
    command: [sh, -c, "until [ -e /go ]; do sleep 0.1; done; exec docker-entrypoint.sh postgres"]
"""
"""A server that does not listen for as long as the test wants."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service's image, tagged with each release."""
    name = unique("rpg-service")
    with ExitStack() as images:
        for release, changes in CHANGES.items():
            folder = tmp_path_factory.mktemp("release") / "service"
            shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
            for path, (old, new) in changes.items():
                text = (folder / path).read_text()
                assert old in text
                (folder / path).write_text(text.replace(old, new, 1))
            docker("tag", images.enter_context(built(folder)), f"{name}:{release}")
            images.callback(docker, "image", "rm", "--force", f"{name}:{release}", check=False)
        yield name


@pytest.fixture(scope="module")
def joined() -> Iterator[None]:
    """A Swarm."""
    with swarm.joined():
        yield


@pytest.fixture
def stack(joined: None, image: str) -> Iterator[Stack]:
    """A stack that is not deployed yet."""
    del joined
    with swarm.keeps_data(), swarm.stack(image) as made:
        yield made


def test_a_release_goes_out_and_back_again(stack: Stack) -> None:
    """Five replicas push once and seed once; a new column is pushed once, a bad schema not at all.

    The bad release is rolled back by Swarm, and so is, by hand, the new one: to the older image, on
    the newer schema. From the first healthy replica on a client is always answered.
    """
    stack.deploy(OLD)
    stack.healthy(OLD)
    assert stack.names(OLD, "push.finished", "seed.finished", "handoff.executed") == {
        "push.finished": 1,
        "seed.finished": 1,
        "handoff.executed": REPLICAS,
    }
    first = stack.ledger()
    assert [push.release for push in first.pushes] == [OLD]
    assert list(first.seeds) == [TENANT]
    old = stack.columns()

    with stack.watched():
        stack.deploy(NEW)
        stack.updated("completed")
    stack.healthy(NEW)
    assert stack.names(NEW, "push.finished", "seed.finished", "handoff.executed") == {
        "push.finished": 1,
        "seed.finished": 0,
        "handoff.executed": REPLICAS,
    }
    assert [push.release for push in stack.ledger().pushes] == [OLD, NEW]
    new = stack.columns()
    assert new - old == {"title"}

    before = stack.ledger()
    with stack.watched():
        stack.deploy(BAD)
        stack.updated("rollback_completed")
    stack.healthy(NEW)
    failures = stack.events(BAD)
    assert [event["exit_code"] for event in failures if event["event"] == "push.failed"]
    assert "handoff.executed" not in {event["event"] for event in failures}
    assert stack.ledger() == before
    assert stack.columns() == new

    with stack.watched():
        stack.deploy(OLD)
        stack.updated("completed")
    stack.healthy(OLD)
    assert stack.ledger() == before
    assert stack.columns() == new
    skipped = [event for event in stack.events(OLD) if event["event"] == "push.skipped"]
    warned = [event["pushed_release"] for event in skipped if event["level"] == "warning"]
    assert set(warned) == {NEW}
    assert len(warned) >= REPLICAS


def test_a_replica_killed_in_mid_push_is_replaced(stack: Stack) -> None:
    """Of five that start at once the one that pushes is killed: another pushes, all become healthy.

    Nothing is left of the killed one's push, and the schema is pushed and seeded once.
    """
    stack.deploy(SLOW)
    until(lambda: stack.names(SLOW, "push.started")["push.started"], "a push", 60)
    [pushes] = [event for event in stack.events(SLOW) if event["event"] == "push.started"]
    docker("kill", "--signal", "KILL", pushes["container"])

    stack.healthy(SLOW)

    assert stack.names(
        SLOW, "push.started", "push.finished", "seed.finished", "handoff.executed"
    ) == {
        "push.started": 2,
        "push.finished": 1,
        "seed.finished": 1,
        "handoff.executed": REPLICAS,
    }
    ledger = stack.ledger()
    assert len(ledger.pushes) == 1
    assert list(ledger.seeds) == [TENANT]
    [killed] = [c for c in stack.containers(SLOW) if c.name == pushes["container"]]
    assert killed.inspect()["State"]["ExitCode"] == 137


def test_the_server_runs_only_where_its_data_is(joined: None, image: str) -> None:
    """It has no place, and gets no empty volume, until a node is the one that keeps the data."""
    del joined
    with ExitStack() as placed, swarm.stack(image) as stack:
        stack.deploy(OLD)
        until(lambda: "no suitable node" in stack.server_errors(), "no place", 60)
        assert stack.servers() == []
        assert docker("volume", "ls", "--quiet", "--filter", f"name={stack.name}").stdout == ""

        placed.enter_context(swarm.keeps_data())

        stack.healthy(OLD)
        assert len(stack.servers()) == 1


def test_a_server_that_takes_its_time_is_left_alone(stack: Stack, tmp_path: Path) -> None:
    """A recovery that outlasts as many looks as the engine keeps is not begun again."""
    more = tmp_path / "recovery.yml"
    more.write_text(LONG_RECOVERY)
    stack.deploy(OLD, more)
    until(stack.servers, "a server", 60)
    [server] = stack.servers()
    until(lambda: len(looks(server)) == 5, "five looks", 120)
    assert {look["ExitCode"] for look in looks(server)} == {2}

    server.execute("touch", "/go")

    stack.healthy(OLD)
    assert [each.name for each in stack.servers()] == [server.name]


def looks(container: Container) -> list[dict[str, Any]]:
    """The last answers of its health check."""
    found = container.inspect()["State"]["Health"]["Log"]
    assert isinstance(found, list)
    return found
