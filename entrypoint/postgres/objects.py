"""What applications made in a database: tables, views, sequences, types, functions."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from psycopg import sql
from psycopg.errors import LockNotAvailable
from psycopg.rows import TupleRow

from ..config import tools
from .quarantine import MARK, note
from .session import Session, translated
from .sql import load_sql


class Object(NamedTuple):
    """Something that an application made; partitions and owned sequences are in their table."""

    kind: str
    schema: str
    name: str
    arguments: str | None = None
    """Of a function."""

    rows: int | None = None
    """By the planner's or the statistics' estimate, the greater; of a table."""

    size_bytes: int | None = None
    """With indexes and TOAST; None where it was locked, or has no storage."""

    used_by: Sequence[str] = ()
    """What uses a type, a sequence or a function, directly or through others, by bare names."""

    def names(self) -> tuple[str, str]:
        """Its name, bare and with its schema."""
        return self.name, f"{self.schema}.{self.name}"

    def label(self) -> str:
        """Its name as people would write it, not quoted."""
        name = self.name if self.schema == "public" else f"{self.schema}.{self.name}"
        return name if self.arguments is None else f"{name}({self.arguments})"


_UNREADABLE: Final = (
    "Where a byte sequence is invalid, rename what has it in its name, which psql shows and takes "
    "after \\encoding SQL_ASCII; else let the role read the catalogs."
)


def find(session: Session, bookkeeping: Collection[str] | None = None) -> list[Object]:
    """The applications' objects in the session's database, without those named in ``bookkeeping``.

    By default those are the known tools' own.

    Within the session's open transaction, which keeps no lock of it; reads catalogs only. Sizes are
    unknown while somebody changes the schema; blocks for about a second then. Raises
    `RefusedError`, and `UnreachableError` when the connection is gone.
    """
    with translated("looking for objects", remedy=_UNREADABLE):
        try:
            rows = _rows(session, sizes=True)
        except LockNotAvailable:
            rows = _rows(session, sizes=False)
    found = [(Object(*row), columns) for *row, comment, columns in rows if note(comment) is None]
    return [each for each, columns in found if not _is_a_tools(each, columns or (), bookkeeping)]


def query(doubtful: Sequence[str]) -> sql.SQL:
    """What `find` asks, as a query that stands alone; with columns of the tables so named.

    Its columns are `Object`'s, then the schema's comment and the table's columns.
    """
    given = {"sizes": True, "quarantine": MARK, "doubtful": [*doubtful]}
    text = load_sql("postgres/objects")
    for name, value in given.items():
        text = text.replace(f"%({name})s", sql.Literal(value).as_string())
    return sql.SQL(text.replace("{", "{{").replace("}", "}}"))


def _is_a_tools(
    each: Object, columns: Collection[str], bookkeeping: Collection[str] | None
) -> bool:
    names = {*each.names()}
    return (
        tools.keeps_books(names, columns) if bookkeeping is None else bool(names & {*bookkeeping})
    )


def _rows(session: Session, *, sizes: bool) -> list[TupleRow]:
    with session.transaction(undone=True):
        session.connection.execute("set local lock_timeout = '1s'")
        asked = {"sizes": sizes, "quarantine": MARK, "doubtful": tools.doubtful()}
        return session.rows("postgres/objects", asked)
