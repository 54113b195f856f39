"""The start through PgBouncer, with and without a way past it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.container import kill
from tests.support.pooler import PROGRAM, Pooler
from tests.support.program import python, until
from tests.support.stage import Stage, service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.support.server import Server

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


@pytest.fixture(params=["transaction", "session"])
def pooled(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A stage whose DATABASE_URL leads through PgBouncer."""
    yield from behind(stage, mode=request.param, auth="scram-sha-256")


def behind(
    stage: Stage,
    *,
    mode: str,
    auth: str,
    retry: str = "server_login_retry = 1",
    databases: Sequence[str] = ("*",),
) -> Iterator[Stage]:
    users = {stage.user: stage.password, stage.server.superuser: stage.server.password}
    with Pooler(
        stage.server, mode=mode, auth=auth, users=users, retry=retry, databases=databases
    ) as pooler:
        stage.environ["DATABASE_URL"] = pooler.url(stage.database, stage.user, stage.password)
        yield stage


def test_create_lock_push_and_seed(pooled: Stage) -> None:
    """All of it works through the pooler, which is recognised, and the child gets no PGOPTIONS."""
    pooled.seed = python("seed", "{tenant_id}", "say-options")
    program = pooled.start(*service("exit", "0"))

    assert program.wait() == 0, program.output
    assert program.one("database.finished")["pooled"] is True
    assert program.one("database.finished")["created"] is True
    assert "PGOPTIONS is not set" in [event["line"] for event in program.all("seed.printed")]
    assert pooled.locks() == 0


def test_eight_starts_through_the_pooler(pooled: Stage) -> None:
    """The lock holds there too: one push and one seed at a time."""
    programs = [pooled.start() for _ in range(8)]

    assert [program.wait(60) for program in programs] == [0] * 8
    runs = sorted(pooled.runs("push") + pooled.runs("seed"))
    assert len(runs) == 16
    assert all(later[0] > earlier[1] for earlier, later in itertools.pairwise(runs))
    assert pooled.locks() == 0


def test_a_direct_url_is_for_the_lock_and_the_push(pooled: Stage) -> None:
    """The push goes past the pooler, the seed and the service through it."""
    pooled.environ["ENTRYPOINT_DIRECT_URL"] = pooled.url
    pooled.push = python("push", "say-options", "say-port")
    pooled.seed = python("seed", "{tenant_id}", "say-options", "say-port")
    program = pooled.start("sh", "-c", "echo $DATABASE_URL")

    assert program.wait() == 0, program.output
    assert program.one("database.finished")["pooled"] is False
    push = [event["line"] for event in program.all("push.printed")]
    seed = [event["line"] for event in program.all("seed.printed")]
    assert any("client_connection_check_interval" in line for line in push)
    assert f"port {pooled.server.port}" in push
    assert "PGOPTIONS is not set" in seed
    assert f"port {pooled.server.port}" not in seed
    assert program.stdout.decode().strip() == pooled.environ["DATABASE_URL"]


def test_a_lost_lock_behind_the_pooler(pooled: Stage) -> None:
    """The pooler tells us that its server connection is gone: exit 6."""
    pooled.push = python("push", "ready", "sleep", "60")
    program = pooled.start()
    program.until("push.printed")
    with pooled.server.connect() as connection:
        query = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
        connection.execute(query)

    assert program.wait(timeout=10) == 6
    assert "handoff.executed" not in program.names()
    until(lambda: pooled.locks() == 0, "the lock is free")


def test_a_wrong_password_at_the_pooler(pooled: Stage) -> None:
    """Our proof of the password is not accepted: refused at once, as without a pooler."""
    url = pooled.environ["DATABASE_URL"]
    pooled.environ["DATABASE_URL"] = url.replace(url.split(":")[2].split("@")[0], "wrong-one")
    program = pooled.start()

    assert program.wait(timeout=10) == 5
    assert program.all("wait.retry_scheduled") == []


@pytest.mark.parametrize("auth", ["md5", "plain"])
def test_a_missing_database_behind_older_authentication(stage: Stage, auth: str) -> None:
    """PgBouncer says 08P01 to everything there; the catalog says whether the database exists."""
    for pooled in behind(stage, mode="transaction", auth=auth):
        program = pooled.start()

        assert program.wait() == 0, program.output
        assert program.one("database.finished")["created"] is True


def test_an_alias_that_leads_elsewhere(stage: Stage) -> None:
    """The server has the last word on which database this is."""
    for pooled in behind(stage, mode="transaction", auth="scram-sha-256"):
        url = pooled.environ["DATABASE_URL"].replace(pooled.database, "alias_db")
        pooled.environ["DATABASE_URL"] = url
        program = pooled.start()

        assert program.wait() == 3
        assert "'postgres'" in program.one("database.failed")["error"]
        assert "push.started" not in program.names()


@pytest.fixture(params=["pooler only", "direct URL"])
def proved(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A stage behind a transaction pooler whose starts can be proved needless."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    if request.param == "direct URL":
        stage.environ["ENTRYPOINT_DIRECT_URL"] = stage.url
    yield from behind(stage, mode="transaction", auth="scram-sha-256")


def test_nothing_to_do_behind_the_pooler(proved: Stage) -> None:
    """The ledger proves it there too, and DDL by hand is noticed."""
    assert proved.start().wait() == 0
    second = proved.start()
    assert second.wait() == 0
    assert second.one("push.skipped")["reason"] == "unchanged"
    assert second.one("seed.skipped")["reason"] == "seeded"
    with proved.connect() as connection:
        connection.execute("alter table rpg_heroes add column by_hand int")

    third = proved.start()

    assert third.wait() == 0
    assert third.one("push.started")["reason"] == "drift"


def test_twenty_replicas_behind_the_pooler(proved: Stage) -> None:
    """One push, one seed, all succeed."""
    programs = [proved.start() for _ in range(20)]

    assert [program.wait(90) for program in programs] == [0] * 20
    assert len(proved.runs("push")) == len(proved.runs("seed")) == 1


def test_the_leader_is_killed_behind_the_pooler(proved: Stage) -> None:
    """The pooler lets its server connection go with the client: a follower takes over."""
    proved.push = python("push", "ready", "wait-for", str(proved.gate))
    leader = proved.start()
    leader.until("push.printed")
    follower = proved.start()
    follower.until("lock.contended")

    kill(leader)
    proved.gate.touch()

    assert follower.wait() == 0, follower.output
    leader.wait()
    assert follower.one("push.started")["reason"] == "first"
    assert proved.locks() == 0
    last = proved.start()
    assert last.wait() == 0
    assert last.one("push.skipped")["reason"] == "unchanged"


@pytest.fixture(params=["transaction", "session"])
def by_default(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A stage behind a PgBouncer that tries a login again 15 s after one that failed."""
    yield from behind(stage, mode=request.param, auth="scram-sha-256", retry="")


@pytest.mark.parametrize("replicas", [1, 8])
def test_a_missing_database_behind_a_pooler_s_defaults(by_default: Stage, replicas: int) -> None:
    """PgBouncer keeps a login waiting; the maintenance database through it tells why."""
    by_default.environ["ENTRYPOINT_WAIT_TIMEOUT"] = "60"
    programs = [by_default.start() for _ in range(replicas)]

    codes = [program.wait(90) for program in programs]

    assert codes == [0] * replicas, programs[0].output
    assert sum(program.one("database.finished")["created"] for program in programs) == 1
    assert by_default.locks() == 0


@pytest.mark.parametrize("way", ["through it", "past it"])
def test_a_missing_database_behind_a_fixed_list(stage: Stage, way: str) -> None:
    """The service's database is in the list; the one to create it from too, or the admin has it."""
    served = [stage.database, *(["postgres"] if way == "through it" else [])]
    if way == "past it":
        superuser = stage.server.superuser, stage.server.password
        stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url("postgres", *superuser)
    stage.environ["ENTRYPOINT_WAIT_TIMEOUT"] = "60"
    options = {"mode": "transaction", "auth": "scram-sha-256", "retry": ""}
    for pooled in behind(stage, databases=served, **options):
        program = pooled.start()

        assert program.wait(90) == 0, program.output
        assert program.one("database.finished")["created"] is True


def test_a_server_that_is_down_behind_the_pooler(own_server: Server, tmp_path: Path) -> None:
    """PgBouncer says nothing: it is waited for as long as was said, and started when it is back."""
    with own_server.connect() as connection:
        connection.execute("create role own login createdb password 'own-password'")
    stage = Stage(tmp_path, own_server, "own_db", "own", "own-password")
    for pooled in behind(stage, mode="transaction", auth="scram-sha-256", retry=""):
        own_server.stop()
        pooled.environ["ENTRYPOINT_WAIT_TIMEOUT"] = "12"
        program = pooled.start()
        assert program.wait(60) == 4
        failure = program.one("wait.failed")
        assert "no answer within" in failure["error"]
        assert "pooler" in failure["remedy"]

        pooled.environ["ENTRYPOINT_WAIT_TIMEOUT"] = "90"
        program = pooled.start()
        program.until("wait.retry_scheduled")
        own_server.resume()
        assert program.wait(100) == 0, program.output


def test_no_timeout_of_ours_reaches_the_pooler_s_next_client(pooled: Stage) -> None:
    """Whoever gets a start's server connection next finds the role's own timeouts."""
    assert pooled.start().wait() == 0
    assert pooled.start().wait() == 0
    url = pooled.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as first, psycopg.connect(url) as second:
        second.execute("select 1")  # each has a server connection of its own
        for client in (first, second):
            for name in ("statement_timeout", "lock_timeout"):
                assert client.execute(f"show {name}".encode()).fetchone() == ("0",)
