"""What applications created in a database: tables, views, sequences, types, functions."""

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
    """An application's object; a table includes its partitions and the sequences that it owns."""

    kind: str
    schema: str
    name: str
    arguments: str | None = None
    rows: int | None = None  # of a table: the greater of planner's and statistics' estimates
    size_bytes: int | None = None  # with indexes and TOAST; None if locked or without storage
    used_by: Sequence[str] = ()  # bare names of users of a type, sequence, function; also indirect

    def names(self) -> tuple[str, str]:
        """The name, bare and with its schema."""
        return self.name, f"{self.schema}.{self.name}"

    def label(self) -> str:
        """The name as people would write it, not quoted."""
        name = self.name if self.schema == "public" else f"{self.schema}.{self.name}"
        return name if self.arguments is None else f"{name}({self.arguments})"


_UNREADABLE: Final = (
    "If the server calls a byte sequence invalid, rename the object with it in its name, which "
    "psql shows and accepts after \\encoding SQL_ASCII; otherwise, let the role read the catalogs."
)


def find(session: Session, bookkeeping: Collection[str] | None = None) -> list[Object]:
    """List the applications' objects in the session's database, without the tools' own tables.

    ``bookkeeping`` names those tables; None stands for all known tools'. Reads catalogs in the
    session's open transaction and keeps no lock. Blocks for about a second while somebody changes
    the schema, and then leaves the sizes out. Raises `RefusedError`, and `UnreachableError` if the
    connection is gone.
    """
    with translated("looking for objects", remedy=_UNREADABLE):
        try:
            rows = _rows(session, sizes=True)
        except LockNotAvailable:
            rows = _rows(session, sizes=False)
    found = [(Object(*row), columns) for *row, comment, columns in rows if note(comment) is None]
    return [each for each, columns in found if not _is_a_tools(each, columns or (), bookkeeping)]


def query(doubtful: Sequence[str]) -> sql.SQL:
    """The query of `find` as text that stands alone, with the columns of tables named ``doubtful``.

    It returns the columns of `Object`, the schema's comment, and the table's columns.
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
