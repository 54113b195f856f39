"""Servers that are absent, deaf, unwilling, or not what DATABASE_URL says."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.support.program import until
from tests.support.server import Server
from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def own_stage(own_server: Server, tmp_path: Path) -> Stage:
    """A stage on a server that the test may stop."""
    with own_server.connect() as connection:
        connection.execute("create role own login createdb password 'own-password'")
    return Stage(tmp_path, own_server, "own_db", "own", "own-password")


def test_a_server_that_appears_after_three_seconds(own_stage: Stage) -> None:
    """The start waits for it and succeeds; the first failure is logged at once, not every one."""
    server = own_stage.server
    assert isinstance(server, Server)
    server.stop()
    program = own_stage.start()
    first = program.until("wait.retry_scheduled", timeout=2)
    late = threading.Timer(3, server.resume)
    late.start()

    assert program.wait() == 0
    late.join()
    assert first["attempts"] == 1
    assert len(program.all("wait.retry_scheduled")) == 1
    assert program.one("wait.finished")["elapsed_s"] > 2


def test_a_server_that_accepts_and_never_answers(stage: Stage) -> None:
    """Gives up at the deadline with 4, and names host, port and cause."""
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        port = deaf.getsockname()[1]
        stage.environ |= {
            "DATABASE_URL": f"postgres://u:p@127.0.0.1:{port}/d",
            "ENTRYPOINT_WAIT_TIMEOUT": "3",
        }
        started = time.monotonic()
        program = stage.start()

        assert program.wait(timeout=6) == 4
    assert time.monotonic() - started < 5
    error = program.one("wait.failed")["error"]
    assert f"127.0.0.1:{port}" in error
    assert "no answer" in error


def test_a_port_where_nobody_listens(stage: Stage) -> None:
    """Exit 4 at the deadline."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    stage.environ |= {
        "DATABASE_URL": f"postgres://u:p@127.0.0.1:{port}/d",
        "ENTRYPOINT_WAIT_TIMEOUT": "0.5",
    }
    program = stage.start()

    assert program.wait() == 4
    assert "refused" in program.one("wait.failed")["error"]


def test_a_misspelt_host(stage: Stage) -> None:
    """Exit 4, and the name is in the error."""
    stage.environ |= {
        "DATABASE_URL": "postgres://u:p@databaes.invalid/d",
        "ENTRYPOINT_WAIT_TIMEOUT": "0.5",
    }
    program = stage.start()

    assert program.wait() == 4
    assert "'databaes.invalid' does not resolve" in program.one("wait.failed")["error"]
    assert "host name" in program.one("wait.failed")["remedy"]


def refused(program_stage: Stage, code: str) -> str:
    """Start, and check that it is refused at once; the error's text."""
    started = time.monotonic()
    program = program_stage.start()

    assert program.wait(timeout=10) == 5, program.output
    assert time.monotonic() - started < 2
    assert program.all("wait.retry_scheduled") == []
    failure = program.one("wait.failed")
    assert code in failure["error"]
    assert "DATABASE_URL" in failure["remedy"] or "pg_hba" in failure["remedy"]
    return str(failure["error"])


def test_a_wrong_password(stage: Stage) -> None:
    """Exit 5 in under 2 s, not retried."""
    stage.environ["DATABASE_URL"] = stage.server.url(stage.database, stage.user, "wrong-password")
    assert "wrong-password" not in refused(stage, "28P01")


def test_an_unknown_role(stage: Stage) -> None:
    """The server does not tell it from a wrong password, and neither do we."""
    stage.environ["DATABASE_URL"] = stage.server.url(stage.database, "nobody_there", "x1x1x1")
    refused(stage, "28P01")


def test_no_password(stage: Stage) -> None:
    """A server that wants one, a URL that has none; the service's PGPASSWORD is not used."""
    url = stage.server.url(stage.database, stage.user, "x").replace(":x@", "@")
    stage.environ |= {"DATABASE_URL": url, "PGPASSWORD": stage.password}
    program = stage.start()

    assert program.wait() == 5
    assert "wants a password" in program.one("wait.failed")["error"]
    assert "PGPASSWORD" in program.one("wait.failed")["remedy"]


def test_no_entry_in_pg_hba(own_stage: Stage) -> None:
    """Exit 5 in under 2 s, whatever language the server speaks: the code decides."""
    server = own_stage.server
    assert isinstance(server, Server)
    server.reload(hba="host all postgres all scram-sha-256")
    refused(own_stage, "28000")


def test_no_right_to_connect(stage: Stage) -> None:
    """A lacking CONNECT privilege is named with the GRANT that mends it."""
    with stage.server.connect() as connection:
        name = sql.Identifier(stage.database)
        connection.execute(sql.SQL("create database {}").format(name))
        connection.execute(sql.SQL("revoke connect on database {} from public").format(name))
    program = stage.start()

    assert program.wait() == 5
    assert "42501" in program.one("wait.failed")["error"]
    assert "GRANT CONNECT" in program.one("wait.failed")["remedy"]


def test_tls_that_the_server_does_not_offer(stage: Stage) -> None:
    """Waiting does not teach it TLS."""
    stage.environ["DATABASE_URL"] = f"{stage.url}?sslmode=require"
    program = stage.start()

    assert program.wait(timeout=5) == 5
    assert "TLS" in program.one("wait.failed")["error"]


def serve_once(answer: bytes) -> Iterator[int]:
    """A port that reads once and answers every connection so."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(64)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_a_port_that_speaks_http(stage: Stage) -> None:
    """What does not speak PostgreSQL will not learn it by waiting."""
    for port in serve_once(b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        stage.environ["DATABASE_URL"] = f"postgres://u:p@127.0.0.1:{port}/d"
        program = stage.start()

        assert program.wait(timeout=10) == 5
        assert "protocol" in program.one("wait.failed")["error"]


def test_a_proxy_without_its_server(stage: Stage) -> None:
    """Accepts and closes: that may change, so it is waited for."""
    for port in serve_once(b""):
        stage.environ |= {
            "DATABASE_URL": f"postgres://u:p@127.0.0.1:{port}/d",
            "ENTRYPOINT_WAIT_TIMEOUT": "0.5",
        }
        program = stage.start()

        assert program.wait(timeout=10) == 4
        assert program.all("wait.retry_scheduled")


def test_full_slots_are_waited_for(own_stage: Stage) -> None:
    """53300 is a queue, not a refusal."""
    with own_stage.server.connect() as connection:
        connection.execute("alter role own connection limit 0")
    program = own_stage.start()
    assert "53300" in program.until("wait.retry_scheduled")["cause"]

    with own_stage.server.connect() as connection:
        connection.execute("alter role own connection limit 10")

    assert program.wait() == 0


def test_a_standby_is_waited_for_until_it_is_promoted(own_stage: Stage) -> None:
    """Advisory locks would succeed there, writes would not."""
    assert own_stage.start().wait() == 0
    server = own_stage.server
    assert isinstance(server, Server)
    (server.data / "standby.signal").touch()
    server.restart()
    program = own_stage.start()
    assert "standby" in program.until("wait.retry_scheduled")["cause"]

    with server.connect() as connection:
        connection.execute("select pg_promote()")

    assert program.wait() == 0
    assert len(own_stage.runs("push")) == 2


def test_a_read_only_database_is_waited_for(stage: Stage) -> None:
    """The last cause is in the error when it stays so."""
    assert stage.start().wait() == 0
    with stage.server.connect() as connection:
        connection.execute(f"alter role {stage.user} set default_transaction_read_only = on")
    stage.environ["ENTRYPOINT_WAIT_TIMEOUT"] = "0.5"
    program = stage.start()

    assert program.wait() == 4
    assert "read-only" in program.one("wait.failed")["error"]
    assert "default_transaction_read_only" in program.one("wait.failed")["remedy"]


def test_a_restart_of_the_server_while_waiting_for_the_lock(own_stage: Stage) -> None:
    """The follower connects again and goes on; the leader lost its lock and says so."""
    own_stage.push = [*own_stage.push, "ready", "wait-for", str(own_stage.gate)]
    leader = own_stage.start()
    leader.until("push.printed")
    follower = own_stage.start()
    follower.until("lock.contended")
    server = own_stage.server
    assert isinstance(server, Server)

    server.restart()

    assert leader.wait() == 6
    own_stage.gate.touch()
    assert follower.wait() == 0, follower.output


def test_variables_of_libpq_do_not_steer_us(stage: Stage) -> None:
    """PG* is meant for the service."""
    stage.environ |= {"PGHOST": "127.0.0.9", "PGPORT": "1", "PGDATABASE": "postgres"}
    stage.environ |= {"PGOPTIONS": "-c search_path=elsewhere", "PGSSLMODE": "verify-full"}
    stage.push[:0] = stage.seed[:0] = ["env", "-u", "PGOPTIONS", "-u", "PGSSLMODE"]

    assert stage.start().wait() == 0


def test_multiple_hosts(stage: Stage) -> None:
    """The first that accepts writes is taken."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        closed = taken.getsockname()[1]
    host = f"127.0.0.1:{stage.server.port}"
    stage.environ["DATABASE_URL"] = stage.url.replace(
        host, f"127.0.0.1:{closed},localhost:{stage.server.port}"
    )
    program = stage.start()

    assert program.wait() == 0, program.output
    until(lambda: stage.sessions() == [], "no session is left")
