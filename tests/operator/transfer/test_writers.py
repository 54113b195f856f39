"""Who writes while a service moves: every acknowledged row is in the target, and no other."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.operator.transfer.conftest import RPG_DB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.operator.transfer.conftest import World

PLAIN = "insert into rpg_items (name) values (%s) returning id"
READS_FIRST = f"select count(*) from rpg_items\n{PLAIN}"  # noqa: S608  a text of our own
NUMBERED = "select nextval('rpg_order_no')"


@dataclass
class Writer:
    """Somebody who does the same again and again, until it fails."""

    world: World
    name: str
    statements: list[str]
    acknowledged: list[str] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    error: psycopg.Error | None = None
    wrote: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        with self.world.server.connect() as connection:
            while not self.stop.is_set():
                value = 0
                text = f"{self.name} {len(self.acknowledged)}"
                try:
                    with connection.transaction():
                        for statement in self.statements:
                            params = [text] if "%s" in statement else None
                            [[value]] = connection.execute(statement.encode(), params).fetchall()
                except psycopg.Error as error:
                    self.error = error
                    return
                self.acknowledged.append(text)
                self.values.append(value)
                self.wrote.set()


@pytest.fixture
def writers(small: World) -> Iterator[list[Writer]]:
    """Those that a test starts; they have ended after it."""
    small.sql("create sequence rpg_order_no")
    started: list[Writer] = []
    yield started
    for each in started:
        each.stop.set()
        each.thread.join()


def begin(writers: list[Writer], world: World, what: str, count: int = 3) -> None:
    writers += [Writer(world, f"{what[:6]}{n}", what.split("\n")) for n in range(count)]
    for each in writers:
        assert each.wrote.wait(20), each.error


def written(world: World) -> list[str]:
    query = "select name from rpg_items where name not like 'item %'"
    return sorted(name for (name,) in world.sql(query, RPG_DB))


def test_every_acknowledged_insert_is_in_the_target(small: World, writers: list[Writer]) -> None:
    """Three writers insert throughout: what they were told is there, and the next one fails."""
    begin(writers, small, PLAIN)
    small.moved("--allow", "writers")
    for each in writers:
        each.thread.join(20)
    assert [e.error and e.error.sqlstate for e in writers] == ["42P01"] * 3
    assert written(small) == sorted(text for each in writers for text in each.acknowledged)


def test_who_reads_before_writing_does_not_stop_the_move(
    small: World, writers: list[Writer]
) -> None:
    """A transaction that read and then waits to write is cancelled: it would wait for the end."""
    begin(writers, small, READS_FIRST)
    small.moved("--allow", "writers")
    for each in writers:
        each.thread.join(20)
    assert {e.error and e.error.sqlstate for e in writers} <= {"42P01", "57014", "40P01"}
    assert written(small) == sorted(text for each in writers for text in each.acknowledged)


def test_no_number_is_given_out_twice(small: World, writers: list[Writer]) -> None:
    """A sequence that is asked throughout goes on in the target behind the last number given."""
    begin(writers, small, NUMBERED)
    small.moved("--allow", "writers")
    for each in writers:
        each.thread.join(20)
    assert {e.error and e.error.sqlstate for e in writers} <= {"42P01", "57014"}
    given = [value for each in writers for value in each.values]
    assert small.value(NUMBERED, RPG_DB) > max(given)


def test_writers_are_an_obstacle(small: World) -> None:
    """Without agreement a session that writes is named, and nothing is locked."""
    with small.server.connect() as connection, connection.transaction():
        connection.execute("set application_name = 'a worker'")
        connection.execute("insert into rpg_items (name) values ('open')")
        refused = small.transfer()
        assert refused.code == 10
        [told] = refused.failed()["obstacles"]
        assert told["name"] == "writers"
        assert told["message"].startswith("1 session is writing to what moves: pid")
        assert "(a worker, role postgres" in told["message"]


def test_who_agrees_to_writers_may_do_so_while_nobody_writes(small: World) -> None:
    """Writers come and go between a plan and the run that agrees to what it said."""
    small.moved("--allow", "writers")


def test_a_writer_that_stays_for_ever_is_not_waited_for(small: World) -> None:
    """A transaction that holds a table beyond the limit ends the move, and the source is whole."""
    with small.server.connect() as connection, connection.transaction():
        connection.execute("set application_name = 'a worker'")
        connection.execute("insert into rpg_items (name) values ('open')")
        refused = small.transfer("--allow", "writers")
        pid = connection.info.backend_pid
    assert refused.code == 10
    assert f"could not lock the tables within 10 s: pid {pid} (a worker, role" in refused.err
    assert "holds RowExclusiveLock on rpg_items" in refused.err
    assert small.databases() == {"postgres"}
    assert small.left() == []
    small.moved()


def test_others_go_on_while_the_move_waits_for_its_locks(small: World) -> None:
    """Who writes beside a transaction that the move waits for never waits behind the move long."""
    with small.server.connect() as connection, connection.transaction():
        connection.execute("insert into rpg_items (name) values ('open')")
        program = small.start("--allow", "writers")
        program.until("transfer.phase_started", phase="lock")
        written = 0
        with small.server.connect() as other:
            other.execute("set lock_timeout = '4s'")
            while program.process.poll() is None:
                other.execute("insert into rpg_items (name) values ('beside')")
                written += 1
        assert program.wait() == 10, program.output
        assert small.value("select count(*) from rpg_items where name = 'beside'") == written > 10
