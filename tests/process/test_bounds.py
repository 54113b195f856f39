"""Nothing that a start asks the server can hold it up: what is locked, slow or frozen is said."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from entrypoint.config.conninfo import Conninfo
from entrypoint.errors import UnreachableError
from entrypoint.postgres import databases, ledger, snapshot
from entrypoint.postgres.session import NoAnswerError, Session, open_session, translated
from entrypoint.start import extensions
from tests.support.program import python
from tests.support.server import Server
from tests.support.versions import MAJORS, NO_NPM, available, prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.server import Endpoint
    from tests.support.stage import Stage

CHECK = "select from rpg_proof"


@pytest.fixture
def checked(stage: Stage) -> Stage:
    """A stage that was started, whose `seed.check` reads a table that the seed does not need."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    stage.push = python("push", "sql", "create table if not exists rpg_proof as select 1 as row")
    stage.sections["seed"] = {"check": CHECK}
    assert stage.start().wait() == 0
    second = stage.start()
    assert second.wait() == 0
    assert second.one("seed.skipped")["reason"] == "seeded"
    return stage


def session(
    server: Endpoint, user: str, password: str, *, patience_s: float, probe: str = ""
) -> Session:
    """One as a start opens it."""
    params = {"host": server.host, "port": str(server.port), "user": user, "password": password}
    conninfo = Conninfo({**params, "dbname": "postgres"}, "DATABASE_URL")
    return open_session(
        conninfo, 5.0, application_name="test/bounds", patience_s=patience_s, probe=probe
    )


def test_a_locked_table_is_no_proof_of_a_seed(checked: Stage) -> None:
    """A warm start goes to the lock, and seeds again; the event says who has which table locked."""
    with checked.connect() as other:
        other.execute("set application_name = 'psql'")
        other.execute("begin; lock table rpg_proof in access exclusive mode")
        program = checked.start()
        program.until("seed.started")
        other.execute("commit")

        assert program.wait() == 0, program.output
        failures = program.all("seed.check_failed")
        assert len(failures) == 2  # before the lock, and under it
        pid = other.info.backend_pid
        assert f"psql has rpg_proof locked (pid {pid}, from" in failures[0]["error"]
        assert "55P03" in failures[0]["error"]
    assert program.one("push.skipped")["reason"] == "unchanged"
    assert program.one("seed.started")["reason"] == "seed.check got no answer"
    assert program.one("seed.finished")["check"] == "found a row"


@pytest.mark.long
def test_a_check_without_an_answer_after_the_seed_exits_8(checked: Stage) -> None:
    """It says who has the table locked; when that one lets go, the next start is as ever."""
    with checked.connect() as other:
        other.execute("set application_name = 'a_backup'")
        other.execute("begin; lock table rpg_proof in access exclusive mode")
        program = checked.start()

        assert program.wait(timeout=60) == 8, program.output
        failure = program.one("seed.failed")
        assert "seed.check got no answer: a_backup has rpg_proof locked" in failure["error"]
        assert failure["check"] == "got no answer"
        assert checked.locks() == 0
    after = checked.start()
    assert after.wait() == 0
    assert "push.started" not in after.names()


def test_a_check_that_takes_too_long_is_no_proof(checked: Stage) -> None:
    """The server ends it; nobody is blamed where nobody has a lock."""
    checked.sections["seed"] = {"check": f"{CHECK}, pg_sleep(7)"}
    program = checked.start()

    assert program.wait(timeout=60) == 0, program.output
    assert "(57014): the query took too long" in program.all("seed.check_failed")[0]["error"]
    assert program.one("seed.finished")["check"] == "found a row"


def test_the_role_s_timeouts_are_not_ours(stage: Stage) -> None:
    """A role that may wait for ever, or for nothing, is bounded by our timeouts, not by its own."""
    with stage.server.connect() as connection:
        connection.execute(f"alter role {stage.user} set statement_timeout = '1ms'")
        connection.execute(f"alter role {stage.user} set lock_timeout = '1ms'")
    with closing(session(stage.server, stage.user, stage.password, patience_s=30.0)) as ours:
        for name, value in (("statement_timeout", "30s"), ("lock_timeout", "5s")):
            assert ours.connection.execute(f"show {name}".encode()).fetchone() == (value,)
        with ours.transaction(timeout_s=4.0):
            for name, value in (("statement_timeout", "4s"), ("lock_timeout", "2s")):
                assert ours.connection.execute(f"show {name}".encode()).fetchone() == (value,)


@pytest.fixture
def frozen(own_server: Server) -> Iterator[Session]:
    """A session whose backend is stopped, as on a host that hangs."""
    superuser = own_server.superuser, own_server.password
    with closing(session(own_server, *superuser, patience_s=2.0)) as ours:
        pid = ours.connection.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        yield ours
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "ask",
    [
        ledger.look,
        snapshot.take,
        lambda ours: extensions.missing(ours, ["citext"]),
        extensions.schema,
    ],
    ids=["ledger", "snapshot", "extensions", "schema"],
)
def test_a_frozen_server_is_hung_up_on(frozen: Session, ask: Callable[[Session], object]) -> None:
    """Each look ends with an error that says so, and the session is closed."""
    started = time.monotonic()

    with pytest.raises(UnreachableError, match="the server did not answer in time"):
        ask(frozen)

    assert frozen.connection.broken
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("major", MAJORS)
def test_a_slow_look_at_the_schema_tells_nothing(major: int) -> None:
    """The server ends it before the attempt is over, on each version, and the session is there."""
    if not available(major):
        pytest.skip(NO_NPM)
    with Server.start(prefix=prefix(major)) as server:
        superuser = server.superuser, server.password
        for seconds, found in ((0, 1), (20, 0)):
            probe = f"select pg_catalog.pg_sleep({seconds})"
            with closing(session(server, *superuser, patience_s=30.0, probe=probe)) as ours:
                assert len(ours.probed) == found
                assert ours.connection.execute("show statement_timeout").fetchone() == ("30s",)


def test_patience_is_for_all_statements_together(own_server: Server) -> None:
    """Ten short ones may not take ten times as long as one; what has its own does not count."""
    with closing(
        session(own_server, own_server.superuser, own_server.password, patience_s=1.0)
    ) as ours:
        with ours.patience(10.0):
            ours.connection.execute("set statement_timeout = 0")
            ours.connection.execute("select pg_sleep(1.2)")
        ours.connection.execute("select pg_sleep(0.6)")
        with pytest.raises(NoAnswerError):
            ours.connection.execute("select pg_sleep(0.6)")


def test_an_extension_that_takes_too_long_is_given_up(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session is creating it and does not end: an error that may heal, and no session."""
    monkeypatch.setattr(extensions, "CREATE_S", 2.0)
    superuser = own_server.superuser, own_server.password
    with (
        own_server.connect() as other,
        closing(session(own_server, *superuser, patience_s=30.0)) as ours,
    ):
        other.execute("begin")
        other.execute("create extension citext")
        with pytest.raises(UnreachableError, match=r"creating the extension 'citext': .*55P03"):
            extensions.create(ours, ["citext"], "public", last=True)
        other.execute("rollback")
        assert extensions.create(ours, ["citext"], "public", last=True) == []


def test_a_database_that_takes_too_long_is_given_up(own_server: Server) -> None:
    """Another session has the list of databases locked: an error that may heal."""
    with (
        own_server.connect() as other,
        closing(
            session(own_server, own_server.superuser, own_server.password, patience_s=30.0)
        ) as ours,
    ):
        other.execute("begin; lock table pg_catalog.pg_database in access exclusive mode")
        create = partial(
            databases.create,
            *(ours, "late_db"),
            owner=own_server.superuser,
            isolate=True,
            deadline=0.0,
        )
        with pytest.raises(UnreachableError, match=r"creating the database 'late_db' .*55P03"):
            create()
        other.execute("commit")
        assert create()


def test_a_cancelled_statement_is_no_refusal(stage: Stage) -> None:
    """A timeout of ours is exit code 4 with what to look at, and never a traceback."""
    with closing(session(stage.server, stage.user, stage.password, patience_s=30.0)) as ours:
        with (
            pytest.raises(UnreachableError) as caught,
            translated("waiting", remedy="Nothing."),
            ours.transaction(timeout_s=0.2),
        ):
            ours.connection.execute("select pg_sleep(10)")
        assert caught.value.exit_code == 4
        assert "pg_stat_activity" in str(caught.value.remedy)
        with ours.transaction():
            ours.connection.execute("select 1")
