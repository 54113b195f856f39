"""What a database can lose: tables and their rows, columns, constraints, enum values.

The start takes one snapshot before and one after a push, whose own word proves nothing. Each OID
stays through a rename, so a rename is no loss.
"""

import math
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from psycopg import errors, sql

from .session import Session, first_rows, translated
from .sql import load_sql

MAX_ROWS: Final = 10_000  # rows that `take` counts; above, the planner's estimate counts
BATCH: Final = 100  # tables in one statement's count, each of which needs a lock
WAIT_S: Final = 1.0  # seconds that a count waits for its tables' locks
RESERVE_S: Final = 30.0  # seconds of the session's patience that counting leaves for the start
WAIT_ALL_S: Final = 5.0  # seconds in total that counts wait for locks


class Table(NamedTuple):
    """An ordinary, partitioned or foreign table."""

    oid: int
    schema: str
    name: str
    kind: str
    filenode: int  # TRUNCATE changes it
    estimate: int
    readable: bool  # whether our role sees all of its rows
    rows: int | None = 0  # up to `MAX_ROWS`; None if nobody could count

    @property
    def filled(self) -> bool:
        """Whether it has rows, or may have."""
        return self.rows != 0

    def label(self, column: str | None = None) -> str:
        """The name for people, without schema ``public``."""
        words = [self.name] if self.schema == "public" else [self.schema, self.name]
        return ".".join([*words, column] if column is not None else words)

    def names(self, column: str | None = None) -> set[str]:
        """Every name of the table, or of one of its columns, in ENTRYPOINT_ALLOW_LOSS."""
        names = {self.name, f"{self.schema}.{self.name}"}
        return names | {f"{name}.{column}" for name in names} if column is not None else names


class Constraint(NamedTuple):
    """A constraint of a table."""

    table: int
    name: str
    valid: bool


class Snapshot(NamedTuple):
    """A database at one moment; keys are OIDs."""

    tables: Mapping[int, Table]
    columns: Mapping[tuple[int, int], str]
    constraints: Mapping[int, Constraint]
    enum_values: Mapping[tuple[int, str], str]  # the type's name, by type and value
    invalid_indexes: Mapping[int, str]  # names, quoted for use in a statement

    @property
    def filled(self) -> list[Table]:
        """The tables that have rows of their own, or may have."""
        return [table for table in self.tables.values() if table.filled]

    def without_rows(self, earlier: "Snapshot") -> "Snapshot":
        """The same, without rows of tables that were empty earlier: nobody guards these."""
        empty = {oid for oid, table in earlier.tables.items() if not table.filled}
        tables = {
            oid: table._replace(rows=0) if oid in empty else table
            for oid, table in self.tables.items()
        }
        return self._replace(tables=tables)


def _begin(deadline: float = math.inf) -> str:
    return load_sql("postgres/look_timeouts").format(
        lock_wait_ms=max(1, int(1000 * min(WAIT_S, deadline - time.monotonic())))
    )


def take(session: Session, counted: Collection[int] | None = None) -> Snapshot:
    """Look at the session's database in its open transaction, and keep no lock.

    Counts rows in the tables with the OIDs ``counted``, by default in all. Blocks for about a
    second for a table that another session has locked, for about five for all of them. The rows of
    such tables are then unknown, as are those of tables for which the session's patience is too
    short. Raises `UnreachableError` if the connection is gone, `RefusedError` for other failures.
    """
    with translated("looking at the tables", remedy="Start again."):
        with session.transaction(undone=True):
            [found] = first_rows(session.connection, f"{_begin()};{load_sql('postgres/snapshot')}")
        tables, columns, constraints, values, indexes = (rows or [] for rows in found)
        by_oid = {row[0]: Table(*row) for row in tables}
        for oid, rows in _count(session, by_oid.values(), counted).items():
            by_oid[oid] = by_oid[oid]._replace(rows=rows)
    return Snapshot(
        by_oid,
        {(table, number): name for table, number, name in columns},
        {oid: Constraint(*rest) for oid, *rest in constraints},
        {(kind, value): name for kind, value, name in values},
        dict(indexes),
    )


def _count(
    session: Session, tables: Iterable[Table], counted: Collection[int] | None
) -> dict[int, int | None]:
    """Rows by OID; a partitioned table has none of its own, a foreign one has them elsewhere."""
    wanted = [
        table for table in tables if table.kind == "r" and (counted is None or table.oid in counted)
    ]
    rows: dict[int, int | None] = {table.oid: None for table in wanted}
    readable = [table for table in wanted if table.readable]
    deadline = time.monotonic() + WAIT_ALL_S
    for start in range(0, len(readable), BATCH):
        batch = readable[start : start + BATCH]
        if session.connection.patience_s < RESERVE_S:
            break
        try:
            rows |= _counted(session, batch, deadline)
        except _PASSING:
            for table in batch:
                if session.connection.patience_s < RESERVE_S:
                    break
                with suppress(*_PASSING):
                    rows |= _counted(session, [table], deadline)
    return rows


_PASSING: Final = (
    errors.LockNotAvailable,
    errors.DeadlockDetected,
    errors.QueryCanceled,
    errors.InternalError_,
    errors.UndefinedTable,
    errors.InsufficientPrivilege,
    errors.WrongObjectType,
)
"""Errors of one table alone: locked, dropped, slow, or in a schema that our role may not use."""


def _counted(session: Session, tables: list[Table], deadline: float) -> dict[int, int | None]:
    """Count rows of tables that are still the same: an owner may put a view in a table's place."""
    names = {table.oid: sql.Identifier(table.schema, table.name) for table in tables}
    lock = sql.SQL("{}; set local row_security = off; lock table {} in access share mode")
    locked = sql.SQL(", ").join(sql.SQL("only {}").format(name) for name in names.values())
    count = sql.SQL("select {}::int8, count(*) from (select from only {} limit {}) as taken")
    connection = session.connection
    # Undone, because an AccessShareLock until the end of the lock's transaction would stop the
    # push.
    with session.transaction(undone=True):
        connection.execute(lock.format(sql.SQL(_begin(deadline)), locked).as_bytes(connection))
        there = {(table.oid, table.schema, table.name) for table in tables}
        rows: dict[int, int | None] = {}
        parts = []
        for oid, schema, name, empty, ours in connection.execute(
            load_sql("postgres/locked_tables"), [list(names)]
        ):
            if (oid, schema, name) not in there:
                continue
            rows[oid] = 0 if empty else None
            if ours and not empty:
                parts.append(count.format(oid, names[oid], MAX_ROWS))
        if parts:
            counted = connection.execute(sql.SQL(" union all ").join(parts)).fetchall()
            rows |= dict(counted)
    return rows
