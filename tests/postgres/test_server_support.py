"""The throw-away server and the fixtures made from it keep their word."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from tests.support.server import Server, ServerError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint


def test_stopped_server_resumes_with_its_data(own_server: Server) -> None:
    """After stop nothing listens; after resume the same URL finds the same rows."""
    with own_server.connect() as connection:
        connection.execute("create table kept (id int)")
    own_server.stop()
    own_server.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(own_server.url())
    own_server.resume()
    with psycopg.connect(own_server.url()) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


def test_killed_server_leaves_no_backend_and_resumes(own_server: Server) -> None:
    """A kill cuts clients off in the middle of a transaction, and is recovered from."""
    backend = psycopg.connect(own_server.url(), autocommit=True)
    backend.execute("begin")
    own_server.kill()
    with pytest.raises(psycopg.OperationalError):
        backend.execute("select 1")
    backend.close()
    own_server.resume()
    own_server.connect().close()


def test_killed_server_can_be_closed() -> None:
    """Closing after a kill leaves no folder behind."""
    with Server.start() as server:
        server.kill()
    assert not server.socket_dir.exists()


def test_reload_takes_effect_before_it_returns(own_server: Server) -> None:
    """The next connection after a reload meets the new settings and rules."""
    own_server.reload({"statement_timeout": "7s"}, hba="host all all all reject")
    with own_server.connect() as connection:
        assert connection.execute("show statement_timeout").fetchone() == ("7s",)
    with pytest.raises(psycopg.OperationalError, match="reject"):
        psycopg.connect(own_server.url())


def test_standby_signal_makes_a_standby(own_server: Server) -> None:
    """A restart with standby.signal in the data folder comes up in recovery."""
    (own_server.data / "standby.signal").touch()
    own_server.restart()
    with own_server.connect() as connection:
        assert connection.execute("select pg_is_in_recovery()").fetchone() == (True,)


def test_failed_start_shows_the_log_and_leaves_nothing() -> None:
    """A setting that the server refuses is named in the error."""
    with pytest.raises(ServerError, match="no_such_setting"):
        Server.start(settings={"no_such_setting": "1"})


def test_taken_port_is_an_error_on_resume(own_server: Server) -> None:
    """A resume without its port fails instead of listening on half of its addresses."""
    own_server.stop()
    with Server.start(settings={"port": str(own_server.port)}) as other:
        assert other.pg_bin == own_server.pg_bin
        with pytest.raises(ServerError, match="could not bind"):
            own_server.resume()


def test_password_is_asked_for_over_tcp(server: Endpoint) -> None:
    """A wrong password is refused."""
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.url(password="wrong"))


def test_client_programs_work(own_server: Server, tmp_path: Path) -> None:
    """Those of the wheel find their libraries."""
    target = tmp_path / "dump"
    subprocess.run(
        [own_server.pg_bin / "pg_dump", "--file", target, own_server.url()], check=True, timeout=60
    )
    assert "PostgreSQL database dump complete" in target.read_text()


made: list[str] = []


@pytest.mark.parametrize("attempt", ["first", "second"])
def test_role_and_database_are_dropped(
    server: Endpoint, role: RoleFactory, database: str, attempt: str
) -> None:
    """Nothing is left of a test's roles and database, whoever owned them and what was granted."""
    with server.connect() as connection:
        query = "select rolname from pg_roles union all select datname from pg_database"
        left = {name for (name,) in connection.execute(query)}
    assert left.isdisjoint(made), attempt
    owner, guest = role("createdb"), role()
    made.extend([database, owner.name, guest.name])
    as_owner = server.url(user=owner.name, password=owner.password)
    with psycopg.connect(as_owner, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(database)))
    with server.connect(database) as connection:
        connection.execute("create table t (id int)")
        connection.execute(sql.SQL("grant select on t to {}").format(sql.Identifier(guest.name)))
