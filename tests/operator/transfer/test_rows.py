"""What a table's checksum sees that a count does not, and what it leaves alone."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import conninfo_to_dict

from entrypoint.config.conninfo import Conninfo
from entrypoint.postgres.session import open_session
from entrypoint.transfer import rows
from entrypoint.transfer.source import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrypoint.transfer.source import Relation
    from tests.support.server import Endpoint

MAKE = """
create type pair as (a int, note text); create domain word as text;
create type mood as enum ('a', 'b'); create type span as range (subtype = float8);
create function lies(pair) returns text language sql immutable as 'select ''the same''';
create cast (pair as text) with function lies(pair);
create table seen ({column});
insert into seen values {values};
create function fails(seen) returns text language plpgsql as
  $$begin raise exception 'was run'; end$$;
create cast (seen as text) with function fails(seen)
"""

DIFFERENT = {
    "scale": ("v numeric", "(1.0)", "(1.00)"),
    "minus-nought": ("v float8", "(0.0)", "('-0')"),
    "last-bit": ("v float8", "(0.1)", "(0.10000000000000002)"),
    "json-blank": ("v json", """('{"a":1}')""", """('{"a": 1}')"""),
    "null-is-no-text": ("v text", "(null)", "('')"),
    "null-elsewhere": ("v text, w text", "('x', null)", "(null, 'x')"),
    "one-column-more": ("v text, w text", "('ab', 'c')", "('a', 'bc')"),
    "exchanged": ("v int, w int", "(1, 1), (2, 2)", "(1, 2), (2, 1)"),
    "exchanged-beside-text": (
        "v int, w int, t text",
        "(1, 1, 'x'), (2, 2, 'x')",
        "(1, 2, 'x'), (2, 1, 'x')",
    ),
    "sign": ("v bigint", "(-1)", "(4294967295)"),
    "halves": ("v bigint", "(1)", "(4294967296)"),
    "null-is-no-number": ("v int", "(null)", "(0)"),
    "null-number-elsewhere": ("v int, w int", "(1, null)", "(null, 1)"),
    "hour": ("v timestamp", "('2026-01-01 00:00')", "('2026-01-01 01:00')"),
    "no-date": ("v timestamptz", "('infinity')", "('-infinity')"),
    "twice": ("v int", "(1), (1), (2)", "(1), (2), (2)"),
    "cast-that-lies": ("v pair", "(row(1, 'x'))", "(row(1, 'y'))"),
    "array-bounds": ("v int[]", "('{1}')", "('[0:0]={1}')"),
    "domain": ("v word", "('a')", "('b')"),
    "enum": ("v mood", "('a')", "('b')"),
    "range": ("v span", "('[1,2)')", "('[1,2]')"),
    "bytes": ("v bytea", r"('\x00')", r"('\x0000')"),
    "microsecond": ("v timestamptz", "('2026-01-01')", "('2026-01-01 00:00:00.000001')"),
    "xml-or-bits": ("v bit(3)", "('101')", "('100')"),
}
"""Columns, and rows that are as many on both sides."""

WIDE = ", ".join(f"c{i} int default {i}" for i in range(1600))


@pytest.fixture
def two(server: Endpoint, database: str) -> Iterator[list[str]]:
    """The names of two databases that are dropped after the test."""
    names = [database, f"{database}_b"]
    with server.connect() as connection:
        for name in names:
            connection.execute(f"create database {name}".encode())
        yield names
        connection.execute(f"drop database {names[1]} with (force)".encode())


def checksums(server: Endpoint, names: list[str], column: str, *values: str) -> list[str | None]:
    """Those of a table that each database has with its own rows."""
    with ExitStack() as stack:
        sessions = []
        for name, value in zip(names, values, strict=True):
            with server.connect(name) as connection:
                script = MAKE.replace("{column}", column).replace("{values}", value)
                connection.execute(script.encode())
            params = {k: str(v) for k, v in conninfo_to_dict(server.url(name)).items()}
            session = open_session(Conninfo(params), 5, application_name="test")
            sessions.append(stack.enter_context(closing(session)))
            session.connection.execute("begin")
        tables = [each for each in read(sessions[0]).relations.values() if each.name == "seen"]
        counted = rows.sums([rows.Side(each, None) for each in sessions], tables, lambda _: None)
    assert counted[0][0].rows == counted[1][0].rows
    return [side[0].checksum for side in counted]


@pytest.mark.parametrize("case", list(DIFFERENT))
def test_what_a_count_does_not_see(server: Endpoint, two: list[str], case: str) -> None:
    """Rows that are as many and differ in their least have different checksums."""
    column, ours, theirs = DIFFERENT[case]
    first, second = checksums(server, two, column, ours, theirs)
    assert first != second


@pytest.mark.parametrize(
    ("column", "ours", "theirs"),
    [
        ("v int, w text", "(1, null), (2, 'b')", "(2, 'b'), (1, null)"),
        ("v pair, w json", "(row(1, null), '{}')", "(row(1, null), '{}')"),
        (WIDE, "(7)", "(7)"),
    ],
    ids=["order", "types", "wide"],
)
def test_the_same_rows_have_the_same_checksum(
    server: Endpoint, two: list[str], column: str, ours: str, theirs: str
) -> None:
    """In any order, of types made twice, in as many columns as there can be; no cast is run."""
    first, second = checksums(server, two, column, ours, theirs)
    assert first == second
    assert first is not None
    assert first != "0"


def test_each_table_is_counted_for_itself(server: Endpoint, database: str) -> None:
    """Small tables share a query and a large one has its own; each has its rows, in their order."""
    made = [
        f"create table t{n} (v int); insert into t{n} select generate_series(1, {n % 7})"
        for n in range(70)
    ]
    made.append(
        "create table large (v text); insert into large select repeat('x', 900) from "
        "generate_series(1, 3000)"
    )
    with server.connect() as connection:
        connection.execute(f"create database {database}".encode())
    with server.connect(database) as connection:
        connection.execute(";".join(made).encode())
    params = {k: str(v) for k, v in conninfo_to_dict(server.url(database)).items()}
    done: list[Relation] = []
    with closing(open_session(Conninfo(params), 5, application_name="test")) as session:
        session.connection.execute("begin")
        tables = sorted(read(session).relations.values())
        [counted] = rows.sums([rows.Side(session, None)], tables, done.append)
    assert [each.relation for each in counted] == tables == done
    expected = {f"t{n}": n % 7 for n in range(70)} | {"large": 3000}
    assert {each.relation.name: each.rows for each in counted} == expected
    assert len({each.checksum for each in counted}) == 8
