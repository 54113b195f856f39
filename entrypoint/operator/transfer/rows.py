"""Whether every row arrived: counted, and summed in a way that no order changes."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from threading import Event
from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from ...postgres.session import Session, translated
from .source import Relation

# How a value is written depends on these; the search_path stays the default, because functions of
# indexes may need it.
_SETTINGS: Final = """
set local timezone = 'utc'; set local datestyle = 'iso, ymd'; set local intervalstyle = 'postgres';
set local extra_float_digits = 1; set local bytea_output = 'hex'; set local lc_monetary = 'C';
set local row_security = off; set local statement_timeout = 0
"""

_COLUMNS: Final = """
select attrelid::int8, attname::text, atttypid::int8 from pg_catalog.pg_attribute
where attrelid = any (%s) and attnum > 0 and not attisdropped order by attrelid, attnum
"""

# Types whose cast to text writes all of a value: those that somebody made may have a cast that does
# not, and that of char(n) forgets blanks.
_PLAIN: Final = """
select oid::int8 from pg_catalog.pg_type where typnamespace = 'pg_catalog'::regnamespace
and typname in ('bool', 'bytea', 'date', 'float4', 'float8', 'int2', 'int4', 'int8', 'interval',
  'json', 'jsonb', 'numeric', 'text', 'time', 'timestamp', 'timestamptz', 'timetz', 'uuid',
  'varchar')
"""

MAX_PLAIN: Final = 50
"""Columns that are hashed one by one, each nested in the next: the server's stack has an end."""

_NULL: Final = "\x01null"

_Done = Callable[[Relation], None]


class Counted(NamedTuple):
    """One table's rows."""

    relation: Relation
    rows: int
    checksum: str
    """Order-free."""


def count(
    sessions: Sequence[Session], tables: Sequence[Relation], done: _Done
) -> list[list[Counted]]:
    """Count and sum every table in each session, the sessions beside each other.

    Returns a list of `Counted` for each session.
    """
    expressions = _expressions(sessions[0], tables) if tables else {}

    def look(session: Session, table: Relation) -> Counted:
        query = sql.SQL(
            "select pg_catalog.count(*), coalesce(pg_catalog.sum({}), 0)::text from only {} as r"
        ).format(expressions[table.oid], sql.Identifier(table.schema, table.name))
        rows, checksum = session.connection.execute(query).fetchone() or (0, "")
        return Counted(table, rows, checksum)

    return _beside(sessions, tables, look, done)


def _expressions(session: Session, tables: Sequence[Relation]) -> Mapping[int, sql.Composable]:
    """What hashes a row of each table, by the table's OID, in the columns' order of the source."""
    with translated("looking at columns", remedy="Run the transfer again."):
        oids = [table.oid for table in tables]
        rows = session.connection.execute(_COLUMNS, [oids]).fetchall()
        plain = {oid for (oid,) in session.connection.execute(_PLAIN).fetchall()}
    columns: dict[int, list[tuple[str, bool]]] = {oid: [] for oid in oids}
    for oid, name, kind in rows:
        columns[oid].append((name, kind in plain))
    return {oid: _expression(each) for oid, each in columns.items()}


def _expression(columns: Sequence[tuple[str, bool]]) -> sql.Composable:
    """Each column's text hashed with the hash of those before it as the seed."""
    single = [sql.Identifier("r", name) for name, plain in columns if plain][:MAX_PLAIN]
    others = [each for name, _ in columns if (each := sql.Identifier("r", name)) not in single]
    hashed: sql.Composable = sql.SQL("0::int8")
    if others:
        # As the types' own output functions write it.
        row = sql.SQL("pg_catalog.textin(pg_catalog.record_out(row({})))").format(
            sql.SQL(", ").join(others)
        )
        hashed = _hash(row, hashed)
    for column in single:
        text = sql.SQL("coalesce({}::pg_catalog.text, {})").format(column, sql.Literal(_NULL))
        hashed = _hash(text, hashed)
    return hashed


def _hash(text: sql.Composable, seed: sql.Composable) -> sql.Composable:
    # A collation may take different texts for equal.
    return sql.SQL('pg_catalog.hashtextextended({} collate pg_catalog."C", {})').format(text, seed)


def _beside(
    sessions: Sequence[Session],
    tables: Sequence[Relation],
    look: Callable[[Session, Relation], Counted],
    done: _Done,
) -> list[list[Counted]]:
    stop = Event()

    def work(session: Session) -> list[Counted]:
        found = []
        with translated("comparing rows", remedy="Run the transfer again."):
            session.connection.execute(_SETTINGS)
            for table in tables:
                if stop.is_set():
                    break
                found.append(look(session, table))
                if session is sessions[0]:
                    done(table)
        return found

    with ThreadPoolExecutor(len(sessions)) as pool:
        working = [pool.submit(work, session) for session in sessions]
        try:
            return [each.result() for each in working]
        except BaseException:
            # A signal, or the other side: nobody waits for a count that takes hours.
            stop.set()
            while wait(working, timeout=0.1).not_done:
                for session in sessions:
                    with suppress(psycopg.Error):
                        session.connection.cancel_safe(timeout=1)
            raise
