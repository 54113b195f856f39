"""Count rows on both sides, exactly, and give the owner of a table no rights by that.

Even the planning of a count runs functions of the table's owner. So a superuser lets a role count
that lives as long as the count and may do nothing else.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from ..operator.server import Server
from ..postgres.session import Session, translated
from . import throwaway

if TYPE_CHECKING:
    from ..operator.report import TableRows

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
        with translated("looking at tables", remedy="Run the command again."):
            rows = session.rows("transfer/tables")
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
