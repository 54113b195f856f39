"""A guarded push as a whole start: who arms it, who ends it, and what it leaves behind."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import guards
from tests.support.pooler import PROGRAM, Pooler
from tests.support.program import Program, python, until
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RoleFactory
    from tests.support.stage import Stage

FILLED = ["sql", "create table rpg_items as select 1 as id"]
TRUNCATE = "truncate rpg_items"
DROP = "drop table rpg_items"


@pytest.fixture
def filled(stage: Stage) -> Stage:
    """A stage with rows in its database, whose next push waits at its gate."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v1"
    stage.push = python("push", *FILLED)
    program = stage.start(command="prepare")
    assert program.wait() == 0, program.output
    waiting(stage)
    return stage


def waiting(stage: Stage, *words: str) -> None:
    """Let the next push wait at the gate, and then do these words."""
    stage.environ["ENTRYPOINT_RELEASE"] = "v2"
    stage.push = python("push", "ready", "wait-for", str(stage.gate), *words)


def doing(stage: Stage, *words: str) -> Program:
    """The next start, with a push that does these words at once."""
    waiting(stage, *words)
    stage.gate.touch()
    return stage.start()


def remains(stage: Stage) -> list[str]:
    """What there is of guards in the database."""
    with stage.connect() as connection:
        return guards.remains(connection)


def refused(program: Program) -> dict[str, Any]:
    """It ended with exit 7 because the guard refused something; its `push.failed`."""
    assert program.wait() == 7, program.output
    failure = program.one("push.failed")
    assert "the guard refused the push" in failure["error"]
    return failure


def test_a_killed_start_leaves_no_guard(filled: Stage) -> None:
    """Its push dies with it, and the server itself has removed it all."""
    program = filled.start()
    program.until("push.printed")
    assert {"trigger on rpg_heroes", "trigger on rpg_items", "trigger on runs"} <= {
        *remains(filled)
    }

    os.kill(program.process.pid, signal.SIGKILL)

    until(lambda: remains(filled) == [], "the server has removed it")
    with filled.connect() as connection:
        connection.execute(TRUNCATE)
    filled.gate.touch()
    until(lambda: filled.sessions() == [], "its push has ended")


def test_a_killed_start_with_a_reader(filled: Stage) -> None:
    """Nobody queues up behind the dead guard, and the next start is guarded again."""
    program = filled.start()
    program.until("push.printed")
    with filled.connect() as reader, filled.connect() as service:
        reader.execute("begin; select from rpg_items")

        os.kill(program.process.pid, signal.SIGKILL)

        filled.gate.touch()
        service.execute("set lock_timeout = '3s'")
        for _ in range(100):
            service.execute("insert into rpg_items values (2)")
            service.execute("select from rpg_heroes")
        last = doing(filled, "sql", "select 1")
        assert last.wait() == 0, last.output
        if service.info.server_version >= 140000:
            assert last.one("guard.not_removed")["tables"] == ["public.rpg_items"]
        reader.execute("commit")
        service.execute(TRUNCATE)


@pytest.mark.parametrize("how", ["done", "ended"])
def test_a_start_leaves_no_guard(filled: Stage, how: str) -> None:
    """Whether its push succeeds or is ended with it."""
    program = filled.start()
    program.until("push.printed")
    assert remains(filled)
    if how == "ended":
        program.signal(signal.SIGTERM)
        assert program.wait() == 143
    else:
        filled.gate.touch()
        assert program.wait() == 0, program.output
    assert remains(filled) == []


def test_the_guards_session_is_ended(filled: Stage) -> None:
    """A push must not outlive its guard: it is killed, and the start exits 7."""
    program = filled.start()
    program.until("push.printed")
    end = (
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and wait_event = 'PgSleep'"
    )
    with filled.connect() as connection:
        until(lambda: connection.execute(end).rowcount, "the guard sleeps")

    assert program.wait() == 7, program.output
    failure = program.one("push.failed")
    assert "guarded the push" in failure["error"]
    assert failure["remedy"]
    assert "handoff.executed" not in program.names()
    with filled.connect() as connection:
        query = "select from runs where ended is not null and what = 'push'"
        assert connection.execute(query).rowcount == 1
    filled.gate.touch()
    assert filled.start().wait() == 0
    assert remains(filled) == []


def test_an_admin_guards_an_isolated_database(filled: Stage) -> None:
    """Its event trigger refuses the service's own role to drop, and goes with the push."""
    filled.environ["ENTRYPOINT_ADMIN_URL"] = filled.server.url()
    program = doing(filled, "sql", DROP)
    failure = refused(program)

    assert "rpg_items" in failure["error"]
    assert program.one("guard.armed")["tables"] == 3
    assert "guard.not_armed" not in program.names()
    assert remains(filled) == []
    with filled.connect() as connection:
        assert connection.execute("select from rpg_items").rowcount == 1


def test_an_admin_that_may_not_connect(filled: Stage, role: RoleFactory) -> None:
    """The service's own role guards what it can."""
    admin = role("createdb")
    filled.environ["ENTRYPOINT_ADMIN_URL"] = filled.server.url(
        "postgres", admin.name, admin.password
    )
    program = doing(filled, "sql", TRUNCATE)
    refused(program)

    assert "event trigger" in program.one("guard.not_armed")["reason"]
    assert "guard.tables_skipped" not in program.names()
    assert remains(filled) == []


def test_an_admin_that_is_no_superuser(filled: Stage, role: RoleFactory) -> None:
    """One that may connect and no more does not stand in the way of the service's own role."""
    admin = role("createdb")
    with filled.server.connect() as connection:
        connection.execute(f"grant connect on database {filled.database} to {admin.name}")
    filled.environ["ENTRYPOINT_ADMIN_URL"] = filled.server.url(
        "postgres", admin.name, admin.password
    )
    program = doing(filled, "sql", TRUNCATE)
    refused(program)

    assert program.one("guard.not_armed")["remedy"]
    assert "guard.tables_skipped" not in program.names()
    assert remains(filled) == []


def test_tables_that_are_not_the_services(filled: Stage) -> None:
    """What its role may not guard is told, with the server's reason."""
    with filled.connect() as connection:
        connection.execute("create table others as select 1 as id")
    program = doing(filled, "sql", "select 1")

    assert program.wait() == 0, program.output
    truncate = program.one("guard.tables_skipped")["truncate"]
    assert truncate == {"others": "must be owner of table others"}


def test_without_rows_there_is_no_guard(stage: Stage) -> None:
    """An empty database, and tables without a row, have nothing to lose."""
    first = stage.start(command="prepare")
    assert first.wait() == 0, first.output
    with stage.connect() as connection:
        connection.execute("delete from runs; delete from rpg_heroes")
    waiting(stage)
    second = stage.start(command="prepare")
    second.until("push.printed")
    assert remains(stage) == []
    stage.gate.touch()

    assert second.wait() == 0, second.output
    for program in (first, second):
        assert [name for name in program.names() if name.startswith("guard.")] == []


def test_a_table_that_somebody_reads(filled: Stage) -> None:
    """A long reader keeps neither the start nor others waiting; the table keeps a dead trigger."""
    program = filled.start()
    program.until("push.printed")
    with filled.connect() as reader, filled.connect() as service:
        reader.execute("begin; select from rpg_items")
        filled.gate.touch()

        assert program.wait() == 0, program.output
        left = program.one("guard.not_removed")
        assert left["tables"] == ["public.rpg_items"]
        service.execute("set lock_timeout = '3s'; insert into rpg_items values (2)")
        reader.execute("commit")
        service.execute(TRUNCATE)
    filled.environ["ENTRYPOINT_RELEASE"] = "v3"
    last = filled.start()
    assert last.wait() == 0, last.output
    assert "guard.not_removed" not in last.names()
    until(lambda: remains(filled) == [], "nothing is left")


@pytest.fixture
def pooled(filled: Stage) -> Iterator[Stage]:
    """The same behind PgBouncer."""
    users = {filled.user: filled.password, filled.server.superuser: filled.server.password}
    with Pooler(filled.server, mode="transaction", auth="scram-sha-256", users=users) as pooler:
        url = pooler.url(filled.database, filled.user, filled.password)
        filled.environ["DATABASE_URL"] = url
        yield filled


needs_pooler = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


@needs_pooler
def test_behind_a_pooler(pooled: Stage) -> None:
    """There a session is nobody's own: no guard, said once, with the way to have one."""
    program = doing(pooled, "sql", "select 1")

    assert program.wait() == 0, program.output
    unavailable = program.one("guard.not_armed")
    assert "pooler" in unavailable["reason"]
    assert "ENTRYPOINT_DIRECT_URL" in unavailable["remedy"]


@needs_pooler
@pytest.mark.parametrize("statement", [TRUNCATE, DROP])
def test_past_a_pooler(pooled: Stage, statement: str) -> None:
    """With a direct URL the push is guarded, and with an admin's fully."""
    pooled.environ["ENTRYPOINT_DIRECT_URL"] = pooled.url
    if statement == DROP:
        pooled.environ["ENTRYPOINT_ADMIN_URL"] = pooled.server.url()
    program = doing(pooled, "sql", statement)
    refused(program)

    assert ("guard.armed" in program.names()) == (statement == DROP)
    assert remains(pooled) == []


REVOKED = [
    "pg_terminate_backend(int, bigint)",
    "pg_stat_get_activity(int)",
    "pg_sleep(double precision)",
    "pg_notify(text, text)",
    "pg_try_advisory_lock_shared(int, int)",
    "pg_event_trigger_dropped_objects()",
]


@pytest.mark.parametrize("function", REVOKED)
def test_functions_that_are_not_everybodys(filled: Stage, function: str) -> None:
    """A hardened server costs a start its guard, with the reason, and no more."""
    with filled.connect() as connection:
        if "bigint" in function and connection.info.server_version < 140000:
            function = function.replace(", bigint", "")
        connection.execute(f"revoke execute on function pg_catalog.{function} from public")
    program = doing(filled, "sql", "create table rpg_more ()", "daemon")

    assert program.wait() == 0, program.output
    if "terminate" in function:
        assert program.one("push.sessions_not_ended")["remedy"]
    else:
        unavailable = program.one("guard.not_armed")
        assert function.partition("(")[0] in unavailable["reason"]
        assert unavailable["level"] == "warning"
    assert remains(filled) == []


def test_a_role_that_is_set_for_all_sessions(stage: Stage, role: RoleFactory) -> None:
    """A push whose sessions take another role times out: its statement ends before the lock."""
    owner = role()
    with stage.server.connect() as connection:
        connection.execute(f"grant {owner.name} to {stage.user}")
        connection.execute(f"alter role {stage.user} set role = {owner.name}")
        connection.execute(f"create database {stage.database} owner {owner.name}")
    stage.sections["push"] = {"timeout": 10}
    deaf = ["sql", "set client_connection_check_interval = 0"]  # or it might end by itself
    stage.push = python("push", *deaf, "sql", "select pg_sleep(600)")
    program = stage.start()

    assert program.wait() == 7, program.output
    assert program.one("push.sessions_ended")["count"] == 1
    assert stage.sessions() == []


def test_a_killed_start_with_many_tables(stage: Stage) -> None:
    """1,500 guarded tables where not even 400 can be locked at once: nothing of it stays."""
    settings = {"max_connections": "25", "max_locks_per_transaction": "10"}
    with Server.start(settings=settings) as small:
        stage.server, stage.user, stage.password = small, small.superuser, small.password
        stage.environ["ENTRYPOINT_RELEASE"] = "v1"
        stage.push = python("push", *FILLED)
        assert stage.start(command="prepare").wait() == 0
        with stage.connect() as connection:
            for first in range(0, 1500, 100):
                connection.execute(
                    f"do $$ begin for i in {first}..{first + 99} loop execute"
                    " format('create table rpg_%s as select 1 as id', i); end loop; end $$"
                )
        waiting(stage)
        program = stage.start()
        program.until("push.printed", timeout=120)
        assert len(remains(stage)) > 1500

        os.kill(program.process.pid, signal.SIGKILL)

        until(lambda: remains(stage) == [], "the server has removed it", timeout=120)
        until(lambda: stage.sessions() == [], "the guard's session has ended")
