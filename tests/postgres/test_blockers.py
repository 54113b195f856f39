"""Who waits for what, and who is in the way, from within an open transaction."""

from __future__ import annotations

import json
from contextlib import closing
from threading import Thread
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from entrypoint.config.conninfo import Conninfo
from entrypoint.postgres import blockers
from entrypoint.postgres.session import Session, open_session
from tests.support.program import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from tests.support.server import Endpoint

    Connection = psycopg.Connection[TupleRow]

SECRET = "select 'not to be told', id from one"


@pytest.fixture
def url(server: Endpoint, database: str) -> str:
    """A new database with one table."""
    with server.connect() as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(database)))
    with server.connect(database) as connection:
        connection.execute("create table one (id int)")
    return server.url(database)


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    """A start's session, whose transaction is open."""
    params = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(url).items()}
    with closing(open_session(Conninfo(params), 5, application_name="start")) as opened:
        opened.connection.execute("begin")
        yield opened


def connect(url: str, name: str) -> Connection:
    return psycopg.connect(url, autocommit=True, application_name=name)


def port(connection: Connection) -> int:
    row = connection.execute("select inet_client_port()").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("by", ["name", "port"])
def test_lock_and_blocker(url: str, session: Session, by: str) -> None:
    """Named are the lock that a child's session waits for, and the session that has it."""
    with connect(url, "push") as child, connect(url, "somebody") as holder:
        ports = [port(child)] if by == "port" else []
        name = "push" if by == "name" else "another"
        holder.execute("begin; lock one in access exclusive mode")
        waiting = Thread(target=lambda: child.execute(SECRET))
        waiting.start()
        pid, blocker = child.info.backend_pid, holder.info.backend_pid
        until(lambda: waits(session, name, ports), "the child waits")
        found = blockers.find(session, name, ports)
        holder.execute("commit")
        waiting.join()
        idle = blockers.find(session, name, ports)

    [mine] = found["sessions"]
    assert (mine["pid"], mine["state"]) == (pid, "active")
    assert mine["waits_for"] == "AccessShareLock on one"
    [other] = found["blocked_by"]
    assert other["application_name"] == "somebody"
    assert (other["pid"], other["state"]) == (blocker, "idle in transaction")
    assert mine["since"].endswith("Z")
    assert "pg_terminate_backend" in found["remedy"]
    assert "not to be told" not in json.dumps(found)
    assert [each["state"] for each in idle["sessions"]] == ["idle"]
    assert set(idle) == {"sessions"}


def waits(session: Session, name: str, ports: list[int]) -> bool:
    return bool(blockers.find(session, name, ports).get("blocked_by"))


def test_a_lock_on_no_table(url: str, session: Session) -> None:
    """Other kinds of locks are named by their kind."""
    with connect(url, "push") as child, connect(url, "somebody") as holder:
        holder.execute("select pg_advisory_lock(7)")
        waiting = Thread(target=lambda: child.execute("select pg_advisory_lock(7)"))
        waiting.start()
        until(lambda: waits(session, "push", []), "the child waits")
        [mine] = blockers.find(session, "push", [])["sessions"]
        holder.execute("select pg_advisory_unlock(7)")
        waiting.join()
    assert mine["waits_for"] == "ExclusiveLock on advisory"


def test_one_session_of_the_child_blocks_another(url: str, session: Session) -> None:
    """The child's own sessions are not told as strangers in its way."""
    with connect(url, "push") as child, connect(url, "push") as holder:
        holder.execute("begin; lock one in access exclusive mode")
        waiting = Thread(target=lambda: child.execute(SECRET))
        waiting.start()
        pid = child.info.backend_pid

        def locked() -> bool:
            sessions = blockers.find(session, "push", [])["sessions"]
            return any(one["pid"] == pid and " on " in str(one["waits_for"]) for one in sessions)

        until(locked, "the child waits")
        found = blockers.find(session, "push", [])
        holder.execute("commit")
        waiting.join()
    assert len(found["sessions"]) == 2
    assert "blocked_by" not in found


def test_nobody_is_there(session: Session) -> None:
    """Without a session of the child's there is none to tell, nor is one ours."""
    assert blockers.find(session, "push", []) == {"sessions": []}
    assert blockers.find(session, "start", []) == {"sessions": []}


def test_another_database(url: str, server: Endpoint, session: Session) -> None:
    """A child's name in another database is somebody else's."""
    with connect(server.url(), "push"), connect(url, "push") as child:
        found = blockers.find(session, "push", [])
        assert [one["pid"] for one in found["sessions"]] == [child.info.backend_pid]


def test_leaves_the_transaction_as_it_was(session: Session) -> None:
    """It can be asked again and again, and no savepoint stays."""
    for _ in range(3):
        blockers.find(session, "push", [1])
    with pytest.raises(psycopg.errors.InvalidSavepointSpecification):
        session.connection.execute("rollback to blockers")


def test_a_transaction_that_has_failed(session: Session) -> None:
    """Who cannot look tells nothing, and leaves it to the next statement to say why."""
    with pytest.raises(psycopg.errors.DivisionByZero):
        session.connection.execute("select 1 / 0")
    assert blockers.find(session, "push", []) == {}
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        session.connection.execute("select 1")


def test_a_lost_connection(server: Endpoint, session: Session) -> None:
    """The same for a session that is gone."""
    with server.connect() as connection:
        connection.execute("select pg_terminate_backend(%s)", [session.connection.info.backend_pid])
    assert blockers.find(session, "push", []) == {}
    assert session.connection.broken
