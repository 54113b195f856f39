"""A leader that dies in the middle: a follower takes over, and the ledger stays true."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.container import CAN_CUT, host, kill
from tests.support.program import Program, python, until
from tests.support.server import Server
from tests.support.stage import TENANT, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUNDS = 50


@pytest.fixture
def proved(stage: Stage) -> Stage:
    """A stage whose starts can be proved needless, with a push that takes its time."""
    return provable(stage)


def provable(stage: Stage) -> Stage:
    """Give it a release, and a push that says when it has begun."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    stage.push = python("push", "ready", "wait-for", str(stage.gate))
    return stage


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stage]:
    """The same on a server of its own, which is reached by its loopback address."""
    with Server.start() as server:
        yield on(server, tmp_path)
        server.stop("immediate")  # fifty databases need no checkpoint


def on(server: Server, folder: Path) -> Stage:
    """A provable stage on a server that the test may stop."""
    with server.connect() as connection:
        connection.execute("create role own login createdb password 'own-password'")
    return provable(Stage(folder, server, "own_db", "own", "own-password"))


def ledger(stage: Stage) -> dict[str, Any]:
    """What stands in the database's comment."""
    with stage.connect() as connection:
        query = "select shobj_description(oid, 'pg_database') from pg_database where datname = %s"
        row = connection.execute(query, [stage.database]).fetchone()
    assert row is not None
    data = json.loads(row[0].removeprefix("entrypoint:"))
    assert isinstance(data, dict)
    return data


def leader_and_follower(stage: Stage) -> tuple[Program, Program]:
    """One in the middle of its push, one that waits for the lock."""
    leader = stage.start()
    leader.until("push.printed")
    follower = stage.start()
    follower.until("lock.contended")
    return leader, follower


def finish(stage: Stage, leader: Program, follower: Program, *, leaders: int) -> None:
    """The leader ends so, the follower does the work and succeeds."""
    assert leader.wait() == leaders, leader.output
    stage.gate.touch()
    assert follower.wait() == 0, follower.output
    assert "handoff.executed" not in leader.names()
    assert len(ledger(stage)["pushes"]) == 1


def test_the_leader_is_killed_in_mid_push(proved: Stage) -> None:
    """The follower pushes and seeds; one push is in the ledger, the one that was finished."""
    leader, follower = leader_and_follower(proved)

    kill(leader)

    finish(proved, leader, follower, leaders=-9)
    assert follower.one("push.started")["reason"] == "first"
    assert list(ledger(proved)["seeds"]) == [TENANT]
    assert proved.start().wait() == 0
    assert len(proved.runs("push")) == 2


def test_the_leader_is_killed_after_its_seed(proved: Stage) -> None:
    """Before the commit nothing is recorded: the follower does it again, idempotently."""
    proved.push = python("push")
    proved.seed = python("seed", "{tenant_id}", "ready", "wait-for", str(proved.gate))
    leader = proved.start()
    until(
        lambda: any("ready" in e["line"] for e in leader.all("seed.printed")), "the seed is at it"
    )
    kill(leader)
    leader.wait()
    proved.gate.touch()

    follower = proved.start()

    assert follower.wait() == 0
    assert follower.one("push.started")["reason"] == "first"
    assert follower.one("seed.started")["reason"] == "first"


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_the_server_goes_away_in_mid_push(own: Stage, how: str) -> None:
    """The leader exits 6 and never execs; the follower waits the outage out and does the work."""
    leader, follower = leader_and_follower(own)
    server = own.server
    assert isinstance(server, Server)

    if how == "restart":
        server.restart()
    else:
        server.kill()
        time.sleep(0.3)
        server.resume()

    finish(own, leader, follower, leaders=6)


@pytest.mark.skipif(not CAN_CUT, reason="network namespaces need root and iproute2")
def test_the_leaders_host_vanishes(tmp_path: Path) -> None:
    """Nobody says goodbye: the server gives the lock up by itself, and the leader its work."""
    with host() as other, Server.start(settings={"listen_addresses": "*"}) as server:
        stage = on(server, tmp_path)
        url = stage.url
        stage.push = python("push", "ready", "sleep", "60")
        stage.environ["DATABASE_URL"] = url.replace("127.0.0.1", other.server_address)
        leader = stage.start(through=["ip", "netns", "exec", other.name])
        leader.until("push.printed")
        stage.environ["DATABASE_URL"] = url
        stage.push = python("push")
        stage.environ["ENTRYPOINT_RELEASE"] = "v2"
        follower = stage.start()
        follower.until("lock.contended")

        other.cut()

        assert follower.wait(timeout=60) == 0, follower.output
        assert leader.wait(timeout=60) == 6, leader.output
        assert "handoff.executed" not in leader.names()
        assert [push["releases"] for push in ledger(stage)["pushes"]] == [["v2"]]


@pytest.mark.timeout(900)
def test_fifty_rounds_of_ten_starts_with_random_kills(own: Stage) -> None:
    """However many die and when: schema complete, one seed, true ledger, nothing left behind."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for number in range(ROUNDS):
        own.database = f"round_{number}"
        own.push = python("push", "sleep", "0.05")
        programs = [own.start() for _ in range(10)]
        for victim in chance.sample(programs, k=chance.randrange(1, 9)):
            time.sleep(chance.random() * 0.25)
            kill(victim)
        codes = [program.wait(60) for program in programs]
        last = own.start()
        context = f"seed {seed}, round {number}, codes {codes}: {last.output}"
        assert last.wait() == 0, context
        assert set(codes) <= {0, -9}, context
        check(own, context)


def check(stage: Stage, context: str) -> None:
    """The schema is complete, the tenant is there once, and a further start finds it proved."""
    with stage.connect() as connection:
        assert connection.execute("select name from rpg_heroes").fetchall() == [("Ada",)], context
    data = ledger(stage)
    assert list(data["seeds"]) == [TENANT], context
    assert len(data["pushes"]) == 1, context
    until(lambda: stage.sessions() == [], f"no session is left: {context}", timeout=5)
    assert stage.locks() == 0, context
    proof = stage.start()
    assert proof.wait() == 0, context
    assert proof.one("push.skipped")["reason"] == "unchanged", context
    assert proof.one("seed.skipped")["reason"] == "seeded", context
