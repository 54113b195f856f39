"""Whatever ends a transfer, and whenever: the source is whole or the target is complete."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.operator.transfer.conftest import PHASES, RPG_DB, SMALL, World, children
from tests.support.program import namespaces, until
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.program import Program

MORE = """
insert into rpg_items (name) select repeat('long ', 40) || i from generate_series(1, 5000) i;
create index rpg_items_name on rpg_items (name);
create index rpg_items_upper on rpg_items (upper(name))
"""
"""So much that a phase is still under way when its beginning was read."""


MAKES = """
select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like 'create role%'
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """A server for the tests of this file, which they restart at will."""
    with Server.start() as server:
        yield server


@pytest.fixture
def busy(shared: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with something to move, and an empty target that the service made."""
    world = World.on(shared, tmp_path_factory.mktemp("ends"))
    world.sql(f"{SMALL}; {MORE}")
    world.sql(f"create database {RPG_DB}")
    world.sql("create table rpg_items (id int)", RPG_DB)
    yield world
    world.close()
    for name in world.databases() - {"postgres"}:
        world.sql(f"drop database {name} with (force)")
    for (name,) in world.sql("select nspname from pg_namespace where nspname !~ '^(pg_|info)'"):
        world.sql(f"drop schema {name} cascade")
    world.sql("create schema public")


def count(world: World, database: str) -> int:
    query = "select (select count(*) from rpg_items) + (select count(*) from dnd_rolls)"
    return int(world.value(query, database))


def check(world: World) -> None:
    """What holds after any end, and after the second run that it calls for."""
    there = "select 1 from pg_tables where schemaname = 'public' and tablename = 'dnd_rolls'"
    if moved := not world.sql(there):
        assert count(world, RPG_DB) == 5_600
    else:
        world.sql("insert into rpg_items (name) values ('it is writable')")
        assert not world.sql(there, RPG_DB)
    again = world.transfer("--json")
    assert again.code == 0, again.err
    assert again.json["result"] == ("nothing to move" if moved else "moved")
    assert count(world, RPG_DB) == 5_600 + (not moved)
    until(lambda: not world.left(), f"nothing left: {world.left()}")
    assert world.databases() == {"postgres", RPG_DB}


def told(program: Program, world: World) -> None:
    """What the event says of the move is so, and a signal's says it."""
    there = bool(
        world.sql("select 1 from pg_tables where tablename = 'dnd_rolls' and schemaname = 'public'")
    )
    for event in program.all("transfer.failed"):
        signalled = event["error"].startswith("ended by ")
        assert "is unknown" not in event["error"]
        if "the move is complete" in event["error"]:
            assert not there
            assert event["next"][0].startswith("entrypoint url ")
            assert f"/{RPG_DB}" in event["url"]
        elif signalled:
            assert event["error"] == "ended by SIGTERM; nothing was moved"
            assert event["remedy"] == "Run the transfer again."
            assert there
            assert world.left() == []


def kill(program: Program, _world: World) -> None:
    program.signal(signal.SIGKILL)


def stop(program: Program, _world: World) -> None:
    program.signal(signal.SIGTERM)


def disconnect(_program: Program, world: World) -> None:
    """End every session of the transfer's, those of its tools too."""
    world.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name like 'entrypoint/%'"
    )


def end_ours(_program: Program, world: World) -> None:
    """End our sessions only: the tools' stay."""
    world.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'entrypoint/operator'"
    )


def restart(_program: Program, world: World) -> None:
    world.server.restart()


ENDS: list[tuple[Callable[[Program, World], None], set[int], tuple[str, ...]]] = [
    (kill, {-signal.SIGKILL}, PHASES),
    (stop, {143}, PHASES),
    (disconnect, {4, 5, 10}, PHASES[1:5]),
    (end_ours, {4, 5, 10}, ("lock", "restore")),
    (restart, {4, 5, 10}, ("dump", "restore", "swap")),
]
"""What ends it, the codes that it ends with, and the phases."""


@pytest.mark.parametrize(
    ("end", "codes", "phase"),
    [
        pytest.param(end, codes, phase, id=f"{end.__name__}-{phase}")
        for end, codes, phases in ENDS
        for phase in phases
    ],
)
def test_an_end_in_any_phase_loses_nothing(
    busy: World,
    end: Callable[[Program, World], None],
    codes: set[int],
    phase: str,
) -> None:
    """All rows are in one of the two places, the source can be written to, and nothing is left."""
    program = busy.start()
    program.until("transfer.phase_started", phase=phase)
    end(program, busy)
    assert program.wait() in codes | {0}, program.output
    told(program, busy)
    check(busy)


def test_a_second_signal_ends_it_at_once(busy: World) -> None:
    """Two signals in a row leave the source whole, too."""
    program = busy.start()
    program.until("transfer.phase_started", phase="restore")
    program.signal(signal.SIGTERM)
    program.signal(signal.SIGTERM)
    assert program.wait() == 143
    check(busy)


def test_a_role_that_the_server_still_makes_goes_after_a_signal(small: World) -> None:
    """SIGTERM while CREATE ROLE is under way leaves no role, though the server completes it."""
    with small.server.connect() as connection:
        connection.execute("begin; lock table pg_authid in share mode")
        program = small.start("--dry-run", "--json")
        until(lambda: small.sql(MAKES), "a role is being made")
        program.signal(signal.SIGTERM)
        connection.execute("rollback")
    assert program.wait() == 143, program.output
    assert small.left() == []


LONG = (
    "create table rpg_last (a text); alter table rpg_last alter a set storage external;"
    " insert into rpg_last values (repeat('x', 5000));"
    " insert into rpg_items (name) select md5(i::text) from generate_series(1, 500000) i"
)
"""What takes so long to count that the last table can be locked in time."""


def test_a_signal_does_not_wait_for_a_long_count(busy: World) -> None:
    """SIGTERM while a table is compared cancels the server's work instead of waiting for it."""
    busy.sql(LONG)
    program = busy.start()
    program.until("transfer.phase_started", phase="compare")
    program.signal(signal.SIGSTOP)
    waits = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'count'"
    with held(busy, f"{RPG_DB}__incoming", "rpg_last"):
        program.signal(signal.SIGCONT)
        until(lambda: busy.sql(waits), "a long count")
        program.signal(signal.SIGTERM)
        assert program.wait() == 143
        until(lambda: not busy.sql(waits), "nothing counts")
    assert busy.left() == []
    assert not children(busy.temp)


def test_a_signal_does_not_wait_for_a_frozen_server(busy: World) -> None:
    """SIGTERM while the server's process does nothing any more ends it, and says what is left."""
    busy.sql(LONG)
    program = busy.start()
    program.until("transfer.phase_started", phase="compare")
    program.signal(signal.SIGSTOP)
    waits = "select pid from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'count'"
    with held(busy, f"{RPG_DB}__incoming", "rpg_last"):
        program.signal(signal.SIGCONT)
        until(lambda: busy.sql(waits), "a long count")
        pid = busy.value(waits)
        os.kill(pid, signal.SIGSTOP)
        try:
            program.signal(signal.SIGTERM)
            assert program.wait(60) == 143
        finally:
            os.kill(pid, signal.SIGCONT)
    assert program.events[-1]["error"] == "ended by SIGTERM; nothing was moved"
    assert not children(busy.temp)
    assert count(busy, "postgres") == 505_600
    again = busy.transfer()
    assert again.code == 0, again.err
    assert busy.left() == []


@contextmanager
def held(world: World, database: str, table: str) -> Iterator[None]:
    """Keep everybody from a table's long values, as soon as they are there."""
    query = (
        "select i.indexrelid::regclass::text from pg_class c join pg_index i"  # noqa: S608  our own
        f" on i.indrelid = c.reltoastrelid where c.relname = '{table}'"
        " and pg_relation_size(c.reltoastrelid) > 0"
    )
    until(lambda: world.sql(query, database), "the values")
    index = world.value(query, database)
    with suppress(psycopg.errors.AdminShutdown), world.server.connect(database) as connection:
        connection.execute("begin")
        connection.execute(f"reindex index {index}".encode())
        yield


SMALL_DISK = (
    'mount -t tmpfs -o size=1m none "$TMPDIR" && "$0" "$@"; code=$?;'
    ' ls -A "$TMPDIR" > "$TMPDIR.left"; exit $code'
)


def test_a_full_disk_leaves_the_source_as_it_was(busy: World) -> None:
    """A dump that does not fit ends the transfer with the tool's words, and its folder is gone."""
    words = ("--allow", "space")
    program = busy.start(*words, through=[*namespaces("--mount"), "sh", "-c", SMALL_DISK])
    assert program.wait() == 10, program.output
    assert "No space left on device" in program.output
    assert busy.temp.with_suffix(".left").read_text() == ""
    assert busy.databases() == {"postgres", RPG_DB}
    check(busy)
