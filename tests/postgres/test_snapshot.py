"""A snapshot tells what a database has, and neither keeps nor waits for anything."""

from __future__ import annotations

from contextlib import closing
from threading import Thread
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from entrypoint.config.conninfo import Conninfo
from entrypoint.errors import UnreachableError
from entrypoint.postgres import snapshot
from entrypoint.postgres.session import Session, open_session
from tests.support.program import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.rows import TupleRow

    from entrypoint.postgres.snapshot import Snapshot, Table
    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint

    Connection = psycopg.Connection[TupleRow]

ODD = '"Sche,ma ""x"""."Ta.ble; ""%s"", {} é"'


def connect(url: str) -> Session:
    params = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(url).items()}
    return open_session(Conninfo(params), 5, application_name="test")


@pytest.fixture
def other(server: Endpoint, database: str) -> Iterator[Connection]:
    """The superuser's connection to a new database."""
    with server.connect() as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(database)))
    with server.connect(database) as connection:
        yield connection


@pytest.fixture
def session(server: Endpoint, other: Connection) -> Iterator[Session]:
    """A session there whose transaction is open and holds a lock, as a start's does."""
    with closing(connect(server.url(other.info.dbname))) as opened:
        opened.connection.execute("begin; select pg_advisory_xact_lock(42)")
        yield opened


def rows(found: Snapshot) -> dict[str, int | None]:
    """By the tables' names."""
    return {table.label(): table.rows for table in found.tables.values()}


def named(found: Snapshot, name: str) -> Table:
    [table] = [table for table in found.tables.values() if table.label() == name]
    return table


def locks(connection: Connection) -> list[Any]:
    """What the session holds, but for the view that tells it."""
    query = """
        select locktype, relation::regclass::text, mode from pg_locks
        where pid = pg_backend_pid() and relation is distinct from 'pg_locks'::regclass
          and locktype <> 'virtualxid'
    """
    return connection.execute(query).fetchall()


def blocked(connection: Connection, pid: int) -> bool:
    query = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
    return connection.execute(query, [pid]).fetchone() == (True,)


def fill(connection: Connection, numbers: range) -> None:
    """Make a table `t_N` with N rows for every number."""
    connection.execute(
        f"do $$ begin for i in {numbers.start}..{numbers.stop - 1} loop execute"
        " format('create table t_%1$s as select generate_series(1, %1$s)', i); end loop; end $$"
    )


def test_keeps_no_lock(session: Session, other: Connection) -> None:
    """The open transaction has afterwards what it had before: its own lock, and nothing else."""
    fill(other, range(1, 5))
    other.execute("create view seen as table t_1; create type mood as enum ('x')")
    before = locks(session.connection)

    snapshot.take(session)

    assert [kind for kind, *_ in before] == ["advisory"]
    assert locks(session.connection) == before
    other.execute("set lock_timeout = '3s'; drop table t_1 cascade")


def test_leaves_the_transaction_as_it_was(session: Session) -> None:
    """Its settings, too, also where a table could not be counted."""
    query = "select name, setting from pg_settings where source = 'session' order by name"
    before = session.connection.execute(query).fetchall()
    snapshot.take(session)
    assert session.connection.execute(query).fetchall() == before
    with pytest.raises(psycopg.errors.InvalidSavepointSpecification):
        session.connection.execute("rollback to snapshot")


def test_counts_rows(session: Session, other: Connection) -> None:
    """All of them up to a limit, and no more than that of a larger table."""
    limit = snapshot.MAX_ROWS
    fill(other, range(3))
    fill(other, range(limit - 1, limit + 3))
    other.execute("analyze")

    found = snapshot.take(session)

    assert rows(found) == {
        "t_0": 0,
        "t_1": 1,
        "t_2": 2,
        f"t_{limit - 1}": limit - 1,
        f"t_{limit}": limit,
        f"t_{limit + 1}": limit,
        f"t_{limit + 2}": limit,
    }
    assert named(found, f"t_{limit + 2}").estimate == limit + 2
    assert {table.name for table in found.filled} == {*rows(found)} - {"t_0"}


def test_counts_only_what_is_wanted(session: Session, other: Connection) -> None:
    """The others have none, as far as is asked."""
    fill(other, range(1, 4))
    everything = snapshot.take(session)

    found = snapshot.take(session, {named(everything, "t_2").oid})

    assert rows(found) == {"t_1": 0, "t_2": 2, "t_3": 0}


@pytest.mark.parametrize("number", [99, 100, 101, 250])
def test_counts_in_batches(session: Session, other: Connection, number: int) -> None:
    """No table is left out where one batch ends and the next begins."""
    fill(other, range(1, number + 1))
    found = snapshot.take(session)
    assert rows(found) == {f"t_{each}": each for each in range(1, number + 1)}


def test_locked_tables_are_unknown(session: Session, other: Connection) -> None:
    """They may have rows; the others are counted, those of the same batch too."""
    fill(other, range(1, 120))
    other.execute("begin; lock t_3, t_110 in access exclusive mode")

    found = snapshot.take(session)

    assert {name for name, count in rows(found).items() if count is None} == {"t_3", "t_110"}
    assert len(found.filled) == 119
    assert rows(found)["t_4"] == 4


def test_everything_is_locked(session: Session, other: Connection) -> None:
    """However many tables others keep to themselves, it does not wait for each of them."""
    fill(other, range(1, 201))
    other.execute(f"begin; lock {', '.join(f't_{n}' for n in range(1, 201))}")
    assert set(rows(snapshot.take(session)).values()) == {None}


def test_a_table_that_is_dropped_meanwhile(session: Session, other: Connection) -> None:
    """What vanishes between the look and the count is unknown, and nothing else is."""
    fill(other, range(1, 4))
    other.execute("begin; drop table t_2")
    found: list[Snapshot] = []
    looking = Thread(target=lambda: found.append(snapshot.take(session)))
    looking.start()
    pid = session.connection.info.backend_pid
    until(lambda: blocked(other, pid) or not looking.is_alive(), "it waits for the table")
    other.execute("commit")
    looking.join()
    assert rows(found[0]) == {"t_1": 1, "t_2": None, "t_3": 3}
    assert rows(snapshot.take(session)) == {"t_1": 1, "t_3": 3}


def test_a_deadlock(server: Endpoint, session: Session, other: Connection) -> None:
    """Who is chosen to end one loses a batch, not the transaction."""
    fill(other, range(1, 3))
    names = [table.name for table in snapshot.take(session).tables.values()]
    session.connection.execute("set deadlock_timeout = '300ms'")
    with server.connect(other.info.dbname) as holder:
        holder.execute("set deadlock_timeout = '60s'")
        holder.execute(f"begin; lock {names[-1]} in access exclusive mode")
        found: list[Snapshot] = []
        looking = Thread(target=lambda: found.append(snapshot.take(session)))
        looking.start()
        pid = session.connection.info.backend_pid
        until(lambda: blocked(other, pid) or not looking.is_alive(), "it waits for the table")
        holder.execute(f"lock {', '.join(names)} in access exclusive mode")
        looking.join()
    assert len(found) == 1
    assert None in rows(found[0]).values()


def test_kinds(session: Session, other: Connection) -> None:
    """Tables of every kind are seen; what is derived, temporary or an extension's is not."""
    other.execute(
        """
        create table ordinary as select 1 as id;
        create unlogged table unlogged as select 1 as id;
        create table parted (id int) partition by range (id);
        create table part partition of parted for values from (0) to (10);
        create table child () inherits (ordinary);
        insert into parted values (1), (2); insert into child values (1);
        create foreign data wrapper nothing;
        create server nowhere foreign data wrapper nothing;
        create foreign table elsewhere (id int) server nowhere;
        create view seen as table ordinary;
        create materialized view summed as table ordinary;
        create sequence counter;
        create type pair as (a int);
        create temporary table mine as select 1 as id;
        create extension hstore;
        create table member as select 1 as id;
        alter extension hstore add table member;
        """
    )

    found = snapshot.take(session)

    assert rows(found) == {
        "ordinary": 1,
        "unlogged": 1,
        "child": 1,
        "part": 2,
        "parted": 0,
        "elsewhere": 0,
    }
    kinds = {table.name: table.kind for table in found.tables.values()}
    assert (kinds["parted"], kinds["elsewhere"], kinds["part"]) == ("p", "f", "r")


def test_names(session: Session, other: Connection) -> None:
    """Quotes, dots, commas, semicolons and braces are parts of a name."""
    schema = ODD.partition(".")[0]
    other.execute(f"create schema {schema}".encode())
    other.execute(f'create table {ODD} as select 1 as "a.b ""c"""'.encode())
    found = snapshot.take(session)
    assert rows(found) == {'Sche,ma "x".Ta.ble; "%s", {} é': 1}
    assert list(found.columns.values()) == ['a.b "c"']


def test_everything_keeps_its_key(session: Session, other: Connection) -> None:
    """What is renamed or moved is the same; what is made anew is not."""
    other.execute(
        """
        create table one (id int primary key, note text check (note <> ''));
        create type mood as enum ('sad', 'ok'); create schema away
        """
    )
    before = snapshot.take(session)

    other.execute(
        """
        alter table one rename to two; alter table two set schema away;
        alter table away.two rename note to text;
        alter table away.two rename constraint one_note_check to other;
        alter type mood rename to humour
        """
    )
    after = snapshot.take(session)

    assert set(after.tables) == set(before.tables)
    assert set(after.columns) == set(before.columns)
    assert set(after.constraints) == set(before.constraints)
    assert set(after.enum_values) == set(before.enum_values)
    assert rows(after) == {"away.two": 0}
    assert set(after.columns.values()) == {"id", "text"}
    assert {each.name for each in after.constraints.values()} == {"one_pkey", "other"}
    assert {value for _, value in after.enum_values} == {"sad", "ok"}
    assert set(after.enum_values.values()) == {"humour"}


def test_truncate_and_dropped_columns(session: Session, other: Connection) -> None:
    """A truncated table has another file, and a dropped column is gone."""
    other.execute("create table one as select 1 as id, 2 as note")
    before = snapshot.take(session)
    other.execute("truncate one; alter table one drop note")
    after = snapshot.take(session)
    assert named(before, "one").filenode != named(after, "one").filenode
    assert (named(before, "one").rows, named(after, "one").rows) == (1, 0)
    assert list(after.columns.values()) == ["id"]


def test_what_is_half_made(session: Session, server: Endpoint, other: Connection) -> None:
    """Invalid indexes and constraints are told; an index that is just being made is not."""
    other.execute("create table one as select 1 as id from generate_series(1, 2)")
    other.execute("alter table one add constraint later check (id > 0) not valid")
    with pytest.raises(psycopg.errors.UniqueViolation):
        other.execute("create unique index concurrently broken on one (id)")
    with server.connect(other.info.dbname) as writer, server.connect(other.info.dbname) as maker:
        writer.execute("begin; insert into one values (2)")
        making = Thread(
            target=lambda: maker.execute("create index concurrently being_made on one (id)")
        )
        making.start()
        pid = maker.info.backend_pid
        until(lambda: blocked(other, pid), "it waits for the writer")
        found = snapshot.take(session)
        writer.execute("rollback")
        making.join()
    assert list(found.invalid_indexes.values()) == ["broken"]
    assert [(each.name, each.valid) for each in found.constraints.values()] == [("later", False)]


def test_what_a_role_may_not_see(server: Endpoint, other: Connection, role: RoleFactory) -> None:
    """Rows that it may not read, and those of a table that row security hides, are unknown."""
    guest = role()
    other.execute(
        f"""
        create table open as select 1 as id; grant select on open to {guest.name};
        create table closed as select 1 as id;
        create table partly as select 1 as id; grant select (id) on partly to {guest.name};
        create table filtered as select 1 as id; grant select on filtered to {guest.name};
        alter table filtered enable row level security;
        create table forced as select 1 as id; alter table forced owner to {guest.name};
        alter table forced enable row level security;
        alter table forced force row level security;
        create table own (id int); alter table own owner to {guest.name};
        alter table own enable row level security;
        create schema hidden; create table hidden.away as select 1 as id;
        grant select on hidden.away to {guest.name}
        """
    )
    url = server.url(other.info.dbname, guest.name, guest.password)
    with closing(connect(url)) as session:
        session.connection.execute("begin")
        found = snapshot.take(session)

    unknown = ("closed", "partly", "filtered", "forced", "hidden.away")
    assert rows(found) == {"open": 1, "own": 0, **dict.fromkeys(unknown)}
    assert {table.label() for table in found.filled} == {"open", *unknown}


def test_a_catalog_that_is_locked(session: Session, other: Connection) -> None:
    """What cannot be looked at is an error that leaves the transaction usable."""
    other.execute("begin; lock pg_enum in access exclusive mode")
    with pytest.raises(UnreachableError, match=r"looking at the tables.*lock timeout"):
        snapshot.take(session)
    assert [kind for kind, *_ in locks(session.connection)] == ["advisory"]
    other.execute("rollback")
    assert rows(snapshot.take(session)) == {}


def test_lost_connection(session: Session, other: Connection) -> None:
    """A session that is gone is unreachable, not refused."""
    pid = session.connection.info.backend_pid
    other.execute("select pg_terminate_backend(%s)", [pid])
    with pytest.raises(UnreachableError):
        snapshot.take(session)
