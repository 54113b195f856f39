"""What is said when a move, an undo or a removal is ended: whether it took place before."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.operator.conftest import answer
from tests.operator.transfer.conftest import RPG, RPG_DB, World
from tests.support.cut import Cut
from tests.support.program import until
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from signal import Signals

    from tests.support.program import Program

MOVED = "select 1 from pg_namespace where nspname = 'moved_gaqno_rpg_db_public'"

WAITS = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query ilike '%{}%'"

COMMITS = "select 1 from pg_stat_activity where wait_event = 'SyncRep' and lower(query) = 'commit'"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[World]:
    """Another server."""
    with Server.start() as server:
        (tmp_path / "other").mkdir()
        yield World.on(server, tmp_path / "other")


@contextmanager
def waiting(world: World, *words: str, query: str, table: str) -> Iterator[Program]:
    """Begin when a transfer waits for somebody who reads a table, and end with the reading."""
    with world.server.connect() as connection:
        connection.execute("begin")
        connection.execute(f"select 1 from {table} limit 1".encode())  # noqa: S608  our own
        program = world.start("--json", *words)
        until(lambda: world.sql(query), "it waits")
        yield program


@contextmanager
def next_in_line(world: World, table: str) -> Iterator[None]:
    """Somebody waits for the one who changes a catalog, and keeps it for the body from then on."""
    query = f"lock table {table} in share mode"
    with world.server.connect() as connection:
        connection.execute("begin")
        thread = Thread(target=connection.execute, args=[query.encode()])
        thread.start()
        try:
            until(lambda: world.sql(WAITS.format(query)), "it waits for its turn")
            yield
        finally:
            connection.cancel()
            thread.join()


def end_while_it_commits(world: World, program: Program) -> None:
    """Send SIGTERM while the commit waits for a standby that is nobody; then let it go on."""
    try:
        until(lambda: world.sql(COMMITS), "the commit waits")
        program.signal(signal.SIGTERM)
        until(lambda: not world.sql(COMMITS), "it does not wait any more")
    finally:
        standby(world, "")


def standby(world: World, name: str) -> None:
    """Let each commit wait for a standby of this name; for none where it is empty."""
    world.sql(f"alter system set synchronous_standby_names = '{name}'")
    world.sql("select pg_reload_conf()")
    until(lambda: world.value("show synchronous_standby_names") == name, "the setting")


def said(program: Program, exit_code: int = 143) -> dict[str, object]:
    """The event that tells of the end, and nothing else that failed."""
    assert program.wait() == exit_code, program.output
    event: dict[str, object] = program.one("transfer.failed")
    assert event["exit_code"] == exit_code
    return event


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_after_the_commit_says_that_it_was_moved(small: World, signum: Signals) -> None:
    """While the replaced database is removed, the event has the URL and what is next."""
    small.sql(f"create database {RPG_DB}")
    small.sql("alter role postgres set synchronous_commit = on")
    report = small.operator.directory / "moved.md"
    words, waits = ("--report", str(report)), WAITS.format("set schema")
    with waiting(small, *words, query=waits, table="rpg_items") as program:
        standby(small, "nobody")
    until(lambda: small.sql(COMMITS), "the commit waits")
    with next_in_line(small, "pg_database"):
        standby(small, "")
        program.until("transfer.phase_finished", phase="swap")
        until(lambda: small.sql(WAITS.format("drop database")), "the removal waits")
        program.signal(signum)
        event = said(program, 128 + signum)
    assert event["error"] == f"ended by {signum.name}; the move is complete"
    assert event["url"] == small.server.url(RPG_DB).replace(small.server.password, "****")
    assert event["next"] == [
        f"entrypoint url {RPG} --env --show-password",
        f"entrypoint verify --service {RPG}",
        f"entrypoint transfer {RPG} --undo",
        f"entrypoint transfer {RPG} --drop-quarantine",
    ]
    assert event["remedy"] == f"Continue with: entrypoint url {RPG} --env --show-password"
    found = answer(program).json
    assert (found["result"], found["next"]) == ("moved", event["next"])
    assert found["quarantine"] == ["moved_gaqno_rpg_db_public"]
    assert "500" in report.read_text()
    assert small.value("select count(*) from rpg_items", RPG_DB) == 500
    assert not small.sql("select 1 from pg_roles where starts_with(rolname, 'entrypoint_')")
    small.transfer()  # removes what was replaced
    assert small.left() == []


def test_a_signal_before_the_commit_says_that_nothing_was_moved(small: World) -> None:
    """While it waits for a reader at the last moment, nothing is moved and nothing is left."""
    before = small.dump("postgres")
    with waiting(small, query=WAITS.format("set schema"), table="rpg_items") as program:
        program.signal(signal.SIGTERM)
        event = said(program)
    assert event["error"] == "ended by SIGTERM; nothing was moved"
    assert event["remedy"] == "Run the transfer again."
    assert json.loads(program.stdout)["failed"]["error"] == event["error"]
    assert (small.dump("postgres"), small.databases()) == (before, {"postgres"})
    assert small.left() == []


def test_a_signal_while_it_is_committed_finds_out(small: World) -> None:
    """A commit that waits for a standby is there: it is said, though nobody had answered."""
    small.sql("alter role postgres set synchronous_commit = on")
    with waiting(small, query=WAITS.format("set schema"), table="rpg_items") as program:
        standby(small, "nobody")
    end_while_it_commits(small, program)
    assert said(program)["error"] == "ended by SIGTERM; the move is complete"
    assert small.sql(MOVED)
    assert small.value("select count(*) from rpg_items", RPG_DB) == 500
    assert small.left() == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_connection_lost_in_the_commit_is_looked_after(small: World, *, after: bool) -> None:
    """Lost before the server had it, nothing was moved; lost with the answer, all was."""
    with Cut(small.server.host, small.server.port, after) as cut:
        url = small.server.url().replace(f":{small.server.port}/", f":{cut.port}/")
        done = small.transfer("--json", environ={"DATABASE_URL": url})
        assert cut.done
    assert bool(small.sql(MOVED)) == after
    assert small.left() == []
    if after:
        assert done.code == 0, done.err
        assert done.json["result"] == "moved"
        return
    assert done.code == 4
    event = done.events[-1]
    assert "the connection was lost" in event["error"]
    assert small.transfer("--json").json["result"] == "moved"


def test_where_nobody_knows_it_says_how_to_know(small: World) -> None:
    """A server that is not there any more leaves it open; the line that is told says it later."""
    with Cut(small.server.host, small.server.port, after=True, deaf=True) as cut:
        url = small.server.url().replace(f":{small.server.port}/", f":{cut.port}/")
        program = small.start("--json", environ={"DATABASE_URL": url})
        assert program.wait(timeout=90) == 10, program.output
    event = program.one("transfer.failed")
    assert "the outcome of the move is unknown" in event["error"]
    line = f"entrypoint transfer {RPG} --dry-run"
    assert event["remedy"].startswith(f"Run {line} when the server answers: ")
    later = small.operator.run(*line.split()[1:], "--json", environ=small.environ())
    assert later.json["result"] == "nothing to move"
    assert later.json["quarantine"] == ["moved_gaqno_rpg_db_public"]
    assert f"entrypoint transfer {RPG} --undo" in later.json["next"]


def test_two_servers_of_which_one_committed_are_told(small: World, other: World) -> None:
    """With --to the target is in its place and the source as it was: the line mends it."""
    with Cut(small.server.host, small.server.port, after=False) as cut:
        url = small.server.url().replace(f":{small.server.port}/", f":{cut.port}/")
        environ = {"DATABASE_URL": url, "NEW": other.server.url()}
        done = small.transfer("--json", "--to", other.server.url(), environ=environ)
    assert done.code == 4
    event = done.events[-1]
    assert f"the target 127.0.0.1:{other.server.port}/{RPG_DB} is complete" in event["error"]
    assert "the source is unchanged" in event["error"]
    line = f'entrypoint transfer {RPG} --to "$NEW" --allow target'
    assert event["remedy"].startswith(f"Run {line}: ")
    assert other.value("select count(*) from rpg_items", RPG_DB) == 500
    assert not small.sql(MOVED)
    assert (small.left(), other.left()) == ([], [])
    small.sql("insert into rpg_items (name) values ('the service goes on')")
    moved = small.moved("--to", other.server.url(), "--allow", "target")
    assert moved["kept_database"] == f"{RPG_DB}__replaced"
    assert other.value("select count(*) from rpg_items", RPG_DB) == 501


BACK = {"--undo": "undo", "--drop-quarantine": "removal"}


def test_a_signal_before_an_undo_says_that_nothing_was_put_back(small: World) -> None:
    """While it waits for a reader of the quarantine, everything stays where it is."""
    small.moved()
    before = small.dump("postgres")
    waits, table = WAITS.format("set schema"), "moved_gaqno_rpg_db_public.rpg_items"
    with waiting(small, "--undo", query=waits, table=table) as program:
        program.signal(signal.SIGTERM)
        event = said(program)
    assert event["error"] == "ended by SIGTERM; nothing was put back"
    assert event["remedy"] == f"Run entrypoint transfer {RPG} --undo"
    assert small.dump("postgres") == before
    assert small.transfer("--json", "--undo").code == 0


def test_a_signal_while_an_undo_is_committed_finds_out(small: World) -> None:
    """One that waits for a standby is there, and the event says so with what is next."""
    small.sql("alter role postgres set synchronous_commit = on")
    small.moved()
    waits, table = WAITS.format("set schema"), "moved_gaqno_rpg_db_public.rpg_items"
    with waiting(small, "--undo", query=waits, table=table) as program:
        standby(small, "nobody")
    end_while_it_commits(small, program)
    assert said(program)["error"] == "ended by SIGTERM; the undo is complete"
    told = answer(program).json
    assert (told["result"], told["kept_database"]) == ("undone", f"{RPG_DB}__undone")
    assert told["quarantine"] == []
    assert told["next"][-1] == f"entrypoint transfer {RPG} --drop-aside"
    assert not small.sql(MOVED)
    assert small.sql("select 1 from pg_tables where tablename = 'rpg_items'")


@pytest.mark.parametrize("word", BACK)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_connection_lost_in_an_undo_or_a_removal_is_looked_after(
    small: World, word: str, *, after: bool
) -> None:
    """The exit code is that of a lost connection, and the words say what took place."""
    small.moved()
    with Cut(small.server.host, small.server.port, after) as cut:
        url = small.server.url().replace(f":{small.server.port}/", f":{cut.port}/")
        done = small.transfer("--json", word, environ={"DATABASE_URL": url})
    assert cut.done
    assert done.code == 4
    error = done.failed()["error"]
    assert (f"the {BACK[word]} is complete" in error) == after
    assert bool(small.sql(MOVED)) != after
    if not after:
        assert small.transfer(word).code == 0


def test_a_signal_while_the_answer_is_written_says_that_it_was_moved(small: World) -> None:
    """Somebody who does not read on keeps it waiting; ended there, it has moved all the same."""
    fifo = small.operator.directory / "out"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        size = fcntl.fcntl(reader, 1032)  # F_GETPIPE_SZ
        os.write(reader, b"x" * size)
        program = small.start("--json", through=["sh", "-c", f'exec "$0" "$@" > {fifo}'])
        program.until("transfer.phase_finished", phase="swap")
        until(lambda: not small.left(), "all is done but the answer")
        program.signal(signal.SIGTERM)
        event = said(program)
    finally:
        os.close(reader)
    assert event["error"] == "ended by SIGTERM; the move is complete"
    assert f"/{RPG_DB}" in str(event["url"])
    assert small.value("select count(*) from rpg_items", RPG_DB) == 500
