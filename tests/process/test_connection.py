"""What the service gets is what was checked: a connection by DATABASE_URL before it starts."""

from __future__ import annotations

import re
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from entrypoint.config import dialects
from entrypoint.postgres.session import open_session
from entrypoint.start import database as reach
from tests.process.test_pooler import behind
from tests.support.pooler import PROGRAM
from tests.support.program import python
from tests.support.stage import Stage

if TYPE_CHECKING:
    from tests.support.program import Program
    from tests.support.server import Endpoint, Server

pooled = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
DIRECT = "ENTRYPOINT_DIRECT_URL"


@pytest.fixture
def direct(stage: Stage) -> Stage:
    """A stage with a good direct URL, which waits three seconds; proved by its release."""
    stage.environ |= {DIRECT: stage.url, "ENTRYPOINT_RELEASE": "v1", "ENTRYPOINT_WAIT_TIMEOUT": "3"}
    return stage


def refused(program: Program, *codes: int) -> dict[str, str]:
    """Why the start ended before anything was pushed."""
    assert program.wait() in codes, program.output
    failure: dict[str, str] = program.one("connection.failed")
    assert "DATABASE_URL" in failure["error"]
    assert "DATABASE_URL" in failure["remedy"]
    assert not {"lock.started", "push.started", "handoff.executed"} & {*program.names()}
    return failure


def mended(stage: Stage) -> None:
    """The start after the URL was corrected pushes, the one after that has nothing to do."""
    first, second = stage.start(), stage.start()
    assert first.wait() == 0, first.output
    assert second.wait() == 0, second.output
    assert len(stage.runs("push")) == 1


@pytest.mark.long
def test_a_dead_url_beside_a_direct_one(direct: Stage) -> None:
    """Exit 4 at each start, after the wait and before the push, though the server answers."""
    direct.environ["DATABASE_URL"] = re.sub(r":\d+/", ":1/", direct.url)
    for created in (True, False):
        program = direct.start()
        failure = refused(program, 4)
        assert "127.0.0.1:1 was not ready" in failure["error"]
        assert DIRECT in failure["remedy"]
        assert program.one("database.finished")["created"] is created

    direct.environ["DATABASE_URL"] = direct.url
    mended(direct)


def test_a_wrong_password_beside_a_direct_one(direct: Stage) -> None:
    """Exit 5 at once, for an init container too."""
    direct.environ["DATABASE_URL"] = direct.server.url(direct.database, direct.user, "no-such")
    assert "28P01" in refused(direct.start(), 5)["error"]
    assert "28P01" in refused(direct.start(command="prepare"), 5)["error"]

    direct.environ["DATABASE_URL"] = direct.url
    mended(direct)


def test_a_url_that_broke_since_the_last_start(direct: Stage) -> None:
    """A start with nothing to push looks as well, and the service does not start."""
    mended(direct)
    direct.environ["DATABASE_URL"] = direct.server.url(direct.database, direct.user, "no-such")

    refused(direct.start(), 5)


def test_another_server_beside_a_direct_one(direct: Stage, own_server: Server) -> None:
    """Exit 3 with both addresses; nothing is pushed here or there."""
    with own_server.connect() as connection:
        create = sql.SQL("create role {} login createdb password {}")
        connection.execute(create.format(sql.Identifier(direct.user), direct.password))
        create = sql.SQL("create database {} owner {}")
        names = sql.Identifier(direct.database), sql.Identifier(direct.user)
        connection.execute(create.format(*names))
    direct.environ["DATABASE_URL"] = own_server.url(direct.database, direct.user, direct.password)

    failure = refused(direct.start(), 3)

    assert f"127.0.0.1:{own_server.port} and 127.0.0.1:{direct.server.port}" in failure["error"]
    with own_server.connect(direct.database) as connection:
        assert connection.execute("select from pg_tables where schemaname = 'public'").rowcount == 0
    direct.environ["DATABASE_URL"] = direct.url
    mended(direct)


@pooled
def test_a_role_that_the_pooler_does_not_know(direct: Stage) -> None:
    """Its own words are told, and what to correct: the pooler, not the server."""
    known = Stage(direct.directory, direct.server, direct.database, "nobody-else", "x")
    for behind_it in behind(known, mode="transaction", auth="scram-sha-256"):
        url = psycopg.conninfo.conninfo_to_dict(behind_it.environ["DATABASE_URL"])
        there = direct.url.replace(f":{direct.server.port}/", f":{url['port']}/")
        direct.environ["DATABASE_URL"] = there
        failure = refused(direct.start(), 4, 5)
        assert re.search(r"no such user|authentication failed", failure["error"])


@pooled
def test_an_alias_of_the_pooler_that_leads_elsewhere(
    direct: Stage, server: Endpoint, database: str
) -> None:
    """The pooler's database of that name is another one: exit 3, and nothing is pushed there."""
    direct.database = "alias_db"  # which the pooler takes to `postgres`
    direct.environ[DIRECT] = direct.url
    try:
        for through in behind(direct, mode="transaction", auth="scram-sha-256"):
            failure = refused(through.start(), 3)
            assert "names 'alias_db', but leads to 'postgres'" in failure["error"]
    finally:
        direct.database = database
        with server.connect() as connection:
            connection.execute("drop database if exists alias_db with (force)")


@pooled
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pooler_that_has_just_heard_that_there_is_no_database(direct: Stage, mode: str) -> None:
    """It is waited for until it believes that the database was created; later starts are warm."""
    direct.environ["ENTRYPOINT_WAIT_TIMEOUT"] = "0"
    starts = []
    for through in behind(direct, mode=mode, auth="scram-sha-256"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(through.environ["DATABASE_URL"])
        for _ in range(2):
            starts.append(through.start())
            assert starts[-1].wait() == 0, starts[-1].output

    first, second = starts
    assert [event["variable"] for event in first.all("connection.started")] == ["DATABASE_URL"] * 2
    assert len(second.all("connection.finished")) == 1
    assert second.one("push.skipped")["reason"] == "unchanged"


@pytest.mark.parametrize("with_direct", [False, True])
def test_a_push_that_locks_the_service_out(stage: Stage, *, with_direct: bool) -> None:
    """The service does not start: exit 5 after the push, and again at the next start."""
    stage.environ |= {"ENTRYPOINT_RELEASE": "v1"}
    if with_direct:
        stage.environ[DIRECT] = stage.url
    stage.push = python("push", "sql", "alter role current_user password 'another'")
    stage.environ["ENTRYPOINT_SKIP"] = "seed"
    program = stage.start()

    assert program.wait() == 5, program.output
    assert program.one("push.finished")
    assert "28P01" in program.one("connection.failed")["error"]
    assert "handoff.executed" not in program.names()
    again = stage.start()
    assert again.wait() == 5
    assert "28P01" in again.one("wait.failed")["error"]

    stage.password = "another"
    if with_direct:
        stage.environ[DIRECT] = stage.url
    healed = stage.start()
    assert healed.wait() == 0, healed.output
    assert healed.one("push.skipped")["reason"] == "unchanged"


def test_a_server_that_was_started_again_is_no_other_one(server: Endpoint) -> None:
    """Where the server was when the start began is asked again before anything is refused."""
    conninfo = dialects.parse(server.url(), "DATABASE_URL")
    connect = partial(open_session, application_name="test")
    with closing(connect(conninfo, 5.0)) as session:
        earlier = reach.place(session)._replace(started_at=0.0)

    reach.as_service(conninfo, conninfo, earlier, connect, time.monotonic() + 5)


def test_without_a_direct_url_a_warm_start_connects_once(stage: Stage) -> None:
    """What was checked is the service's own URL already; only a cold start looks again."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    first, second = stage.start(), stage.start()

    assert (first.wait(), second.wait()) == (0, 0)
    last = stage.start()
    assert last.wait() == 0
    assert len(first.all("connection.finished")) == 1
    assert last.all("connection.started") == []
