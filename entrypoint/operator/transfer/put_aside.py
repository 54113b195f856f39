"""The mark of a database that a move or an undo has put aside.

The name alone is no evidence, for anybody may call a database so. What is put aside gets a line of
ours at the beginning of its comment, in the transaction that renames it; only the database's owner
can write one. The rest of the comment stays, among it the ledger, whose line is the last.
"""

import json
from typing import Final, NamedTuple

from psycopg import sql

from ...postgres.databases import Database
from ...postgres.session import Session, translated

MARK: Final = "entrypoint put aside: "
"""How the first line of the comment begins; behind it is JSON."""

_COMMENT: Final = """
select coalesce(shobj_description(oid, 'pg_database'), ''),
  to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
from pg_catalog.pg_database where datname = %s
"""


class Note(NamedTuple):
    """What the mark says."""

    database: str
    """What it was called before."""

    name: str
    """What it was called when it was put aside; one that has another name now is somebody's."""

    at: str


def note(comment: str | None) -> Note | None:
    """Read the mark in a database's comment; None where there is none of ours."""
    line = (comment or "").partition("\n")[0]
    if not line.startswith(MARK):
        return None
    try:
        data = json.loads(line.removeprefix(MARK))
        values = [data[name].encode().decode() for name in Note._fields]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    return Note(*values)


def note_of(session: Session, name: str) -> Note | None:
    """The mark of the database of this name; None where it, or its mark, is not there."""
    with translated("looking at a database's comment", remedy="Start again."):
        rows = session.connection.execute(_COMMENT, [name]).fetchall()
    return note(rows[0][0]) if rows else None


def is_marked(database: Database, name: str) -> bool:
    """Whether a database is what was called so until a move or an undo put it aside."""
    found = note(database.comment)
    return found is not None and (found.database, found.name) == (name, database.name)


def mark(session: Session, database: str, name: str) -> None:
    """Mark one that has just been renamed from ``database`` to ``name``, in the transaction."""
    [(comment, at)] = session.connection.execute(_COMMENT, [name]).fetchall()
    line = MARK + json.dumps(Note(database, name, at)._asdict())
    _write(session, name, f"{line}\n{_without(comment)}".rstrip("\n"))


def unmark(session: Session, name: str) -> None:
    """Give one that has its name back the comment that it had, in the session's transaction."""
    [(comment, _)] = session.connection.execute(_COMMENT, [name]).fetchall()
    if comment.startswith(MARK):
        _write(session, name, _without(comment))


def _without(comment: str) -> str:
    return comment.partition("\n")[2] if comment.startswith(MARK) else comment


def _write(session: Session, name: str, comment: str) -> None:
    statement = sql.SQL("comment on database {} is {}")
    text = sql.Literal(comment or None)
    session.connection.execute(statement.format(sql.Identifier(name), text))
