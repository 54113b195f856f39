"""Check that every row arrived: counts, and checksums that no order changes."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from threading import Event
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from .. import timelimit
from ..operator.server import Server
from ..postgres.session import Session, translated
from ..postgres.sql import load_sql
from ..process import signals
from . import locks, throwaway
from .locks import batches
from .source import Relation, queried

if TYPE_CHECKING:
    from ..operator.report import TableRows


HANG_UP_S: Final = 5.0  # seconds in which a healthy server has cancelled a statement

# Equal values of these types are identical, so hash the values and save their text, which is most
# of the work. The hash of an integer folds its halves into 32 bits, so that -1 and 4294967295
# collide; hence the XOR with the integer.
_XOR: Final = "operator(pg_catalog.#)"
_WHOLE: Final = (
    f"coalesce(pg_catalog.hashint8extended({{0}}::int8, {{1}}) {_XOR} {{0}}::int8, {{1}})"
)
_INSTANT: Final = "coalesce(pg_catalog.timestamp_hash_extended({0}::timestamp, {1}), {1})"
_HASHES: Final = {
    **dict.fromkeys(("int2", "int4", "int8"), _WHOLE),
    **dict.fromkeys(("timestamp", "timestamptz"), _INSTANT),
}
BATCH: Final = 50
"""Tables to count in one transaction: planning a query locks the table and its indexes until the
transaction ends, and all clients share the lock table."""

MAX_PLAIN: Final = 50  # columns to hash one by one, each nested in the next: the stack is limited
_NULL: Final = "\x01null"
SMALL_BYTES: Final = 1 << 20  # tables smaller together share a query: its round trip takes longest
_Done = Callable[[Relation], None]
T = TypeVar("T")


class Side(NamedTuple):
    """Where rows are counted."""

    session: Session  # in a transaction, which a count ends
    snapshot: str | None  # the shared snapshot to read; None for a database that nobody changes


class Counted(NamedTuple):
    """The rows of one table."""

    relation: Relation
    rows: int
    checksum: str  # the same in any order of the rows


def sums(sides: Sequence[Side], tables: Sequence[Relation], done: _Done) -> list[list[Counted]]:
    """Count and sum every table on all sides at once; return a list of `Counted` for each."""
    queries = _queries(sides[0].session, tables) if tables else {}
    stop = Event()

    def look(session: Session, group: Sequence[Relation]) -> list[Counted]:
        query = " union all ".join(queries[table.oid] for table in group)
        found = {oid: each for oid, *each in session.connection.execute(query.encode()).fetchall()}
        return [Counted(table, *found[table.oid]) for table in group]

    def work(side: Side) -> list[Counted]:
        found: list[Counted] = []
        with translated("comparing rows", remedy="Run the transfer again."):
            for batch in batches(tables, BATCH):
                # The end of the transaction releases its locks; another reads the same snapshot.
                side.session.connection.execute("commit")
                locks.begin(side.session, side.snapshot)
                side.session.connection.execute(load_sql("transfer/row_settings"))
                for group in _groups(batch):
                    if stop.is_set():
                        return found
                    found += look(side.session, group)
                    if side is sides[0]:
                        for table in group:
                            done(table)
        return found

    return together(sides, work, stop)


def _groups(tables: Sequence[Relation]) -> Iterator[list[Relation]]:
    """The tables in their order, each alone or in a group that is small together."""
    group: list[Relation] = []
    for table in tables:
        if group and sum(each.size_bytes for each in [*group, table]) > SMALL_BYTES:
            yield group
            group = []
        group.append(table)
    yield group


def _queries(session: Session, tables: Sequence[Relation]) -> Mapping[int, str]:
    """The query that counts and sums each table, by OID, with the columns in the source's order."""
    oids = [table.oid for table in tables]
    rows = queried(session, "looking at columns", "transfer/column_types", [oids])
    columns: dict[int, list[tuple[str, str | None]]] = {table.oid: [] for table in tables}
    for oid, name, kind in rows:
        columns[oid].append((name, kind))
    query = sql.SQL(
        "select {}::int8, pg_catalog.count(*), coalesce(pg_catalog.sum({}), 0)::text from only {} r"
    )
    found = {}
    for table in tables:
        name, hashed = sql.Identifier(table.schema, table.name), _expression(columns[table.oid])
        text = query.format(table.oid, hashed, name).as_string(session.connection)
        found[table.oid] = text
    return found


def _expression(columns: Sequence[tuple[str, str | None]]) -> sql.Composable:
    """Hash each column's text, with the hash of the columns before it as the seed."""
    plain = [each for each in columns if each[1]][:MAX_PLAIN]
    others = [sql.Identifier("r", name) for name, kind in columns if (name, kind) not in plain]
    seeds = [
        sql.SQL(_HASHES[kind]).format(sql.Identifier("r", name), sql.Literal(number))
        for number, (name, kind) in enumerate(plain)
        if kind in _HASHES
    ]
    hashed: sql.Composable = sql.SQL(f" {_XOR} ").join(seeds) if seeds else sql.SQL("0::int8")
    # record_out writes values as the types' output functions do. If XOR took all columns, an empty
    # record still ends the hash: XOR is linear, and alone would miss values that two rows exchange.
    row = sql.SQL("pg_catalog.textin(pg_catalog.record_out(row({})))")
    texts = [row.format(sql.SQL(", ").join(others))] if others or len(seeds) == len(plain) else []
    texts += [
        sql.SQL("coalesce({}::pg_catalog.text, {})").format(
            sql.Identifier("r", name), sql.Literal(_NULL)
        )
        for name, kind in plain
        if kind not in _HASHES
    ]
    # Under other collations different texts may be equal.
    chained = sql.SQL('pg_catalog.hashtextextended({} collate pg_catalog."C", {})')
    for text in texts:
        hashed = chained.format(text, hashed)
    return hashed


def together(sides: Sequence[Side], work: Callable[[Side], T], stop: Event) -> list[T]:
    """Do ``work`` on all sides at once; return what it found on each.

    When a side fails, or a signal comes, set ``stop`` and cancel the other statements; after
    `HANG_UP_S` seconds close their connections. Raises the first failure.
    """
    with ThreadPoolExecutor(len(sides)) as pool:
        working: list[Future[T]] = []
        try:
            with signals.late():
                working += [pool.submit(work, side) for side in sides]
            return [each.result() for each in working]
        except BaseException:
            # A count may take hours, and a frozen server may never answer.
            stop.set()
            deadline = time.monotonic() + HANG_UP_S
            while wait(working, timeout=0.1).not_done:
                for side in sides:
                    with suppress(psycopg.Error):
                        side.session.connection.cancel_safe(timeout=1)
                        if time.monotonic() > deadline:
                            timelimit.hang_up(side.session.connection.fileno())
            raise


BUDGET_S: Final = 20.0  # seconds to count one side; a table that comes too late has no number


class TableCount(NamedTuple):
    """The rows of a table on one side."""

    oid: int
    schema: str
    name: str
    rows: int | None  # None if the count took too long, or the role may not count them
    written: int  # rows inserted, updated and deleted, as far as the server's statistics go back


def count(
    server: Server,
    database: str,
    schemas: Collection[str] | None = None,
    oids: Collection[int] | None = None,
) -> list[TableCount]:
    """Count the rows of a database's tables: of all, of those in ``schemas``, or of ``oids`` alone.

    Blocks for about `BUDGET_S` seconds at most. Raises `RefusedError` and `UnreachableError`.
    """
    with closing(server.session(database)) as session:
        rows = queried(session, "looking at tables", "transfer/tables")
        found = [
            row
            for row in rows
            if (schemas is None or row[1] in schemas) and (oids is None or row[0] in oids)
        ]
        if not throwaway.superuser(session):
            mine = {oid for oid, _, _, own, *_ in found if own}
            return _all(session, found, mine)
        hidden = any(secure for *_, secure, _ in found)
        mine = {oid for oid, *_ in found}
        with (
            throwaway.counting(session, server, [*mine], bypass_rls=hidden) as reader,
            closing(reader.session(database)) as other,
        ):
            return _all(other, found, mine)


def _all(session: Session, rows: Sequence[TupleRow], may: set[int]) -> list[TableCount]:
    deadline = time.monotonic() + BUDGET_S
    found = []
    for oid, schema, name, _, _, written in rows:
        counted = None
        if oid in may and (left_s := deadline - time.monotonic()) > 0:
            counted = _one(session, schema, name, left_s)
        found.append(TableCount(oid, schema, name, counted, written))
    return found


def _one(session: Session, schema: str, name: str, seconds: float) -> int | None:
    query = sql.SQL("select pg_catalog.count(*) from only {}").format(sql.Identifier(schema, name))
    try:
        with session.transaction(undone=True, timeout_s=seconds):
            session.connection.execute("set transaction read only")
            session.connection.execute("set local row_security = off")
            row = session.connection.execute(query).fetchone()
    except psycopg.Error:
        return None
    return int(row[0]) if row else None


def both(
    here: Sequence[TableCount], there: Sequence[TableCount], origins: Mapping[str, str]
) -> "list[TableRows]":
    """Rows of all tables, side by side; ``origins`` maps quarantines to the target's schemas."""
    from ..operator.report import TableRows

    ours = {(origins.get(each.schema, each.schema), each.name): each for each in here}
    theirs = {(each.schema, each.name): each for each in there}
    found = []
    for schema, name in sorted(ours.keys() | theirs.keys()):
        source, target = ours.get((schema, name)), theirs.get((schema, name))
        if source is None and target is not None and not (target.rows or target.written):
            continue
        found.append(
            TableRows(
                object=name if schema == "public" else f"{schema}.{name}",
                source=source.rows if source else None,
                target=target.rows if target else None,
                written=_written(source, target),
            )
        )
    return found


def _written(source: TableCount | None, target: TableCount | None) -> int | None:
    """Changes after the restore, which counts as writes; None after a reset of the counters."""
    restored = source.rows if source else 0
    if target is None or restored is None or target.written < restored:
        return None
    return target.written - restored
