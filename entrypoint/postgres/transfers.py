"""What transfers leave on a server for other commands to see: marked databases, and locks.

A name proves nothing, because anybody may give it to a database. So the transaction that puts a
database aside also writes a mark into the first line of the database's comment; only the owner can
write one. The rest of the comment stays, with the ledger in its last line.
"""

import json
import re
import zlib
from typing import Final, NamedTuple

from psycopg import sql

from ..config.conninfo import suffixed
from .databases import Database
from .session import Session, translated

TARGET_KEY: Final = 0x656E74 << 32  # "ent"
"""The upper half of a target's advisory lock; the lower half is the CRC of the target's name."""

REPLACED: Final = "__replaced"
ASIDE: Final = "entrypoint put aside: "  # the comment's first line begins with it; JSON follows


class Aside(NamedTuple):
    """The mark of a database that a move or an undo put aside."""

    database: str  # its name before
    name: str  # the name that it got; a database that has another name now is somebody else's
    at: str


def aside(comment: str | None) -> Aside | None:
    """Read the mark in a database's comment; None if there is none of ours."""
    line = (comment or "").partition("\n")[0]
    if not line.startswith(ASIDE):
        return None
    try:
        data = json.loads(line.removeprefix(ASIDE))
        values = [data[name].encode().decode() for name in Aside._fields]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    return Aside(*values)


def aside_of(session: Session, name: str) -> Aside | None:
    """The mark of the database of this name; None without a database or a mark."""
    with translated("looking at a database's comment", remedy="Start again."):
        rows = session.rows("postgres/database_comment", [name])
    return aside(rows[0][0]) if rows else None


def is_aside(database: Database, name: str) -> bool:
    """Whether a database had this name until a move or an undo put it aside."""
    found = aside(database.comment)
    return found is not None and (found.database, found.name) == (name, database.name)


def mark(session: Session, database: str, name: str) -> None:
    """Mark a database that the open transaction has just renamed from ``database`` to ``name``."""
    [(comment, at)] = session.rows("postgres/database_comment", [name])
    line = ASIDE + json.dumps(Aside(database, name, at)._asdict())
    _write(session, name, f"{line}\n{_without(comment)}".rstrip("\n"))


def unmark(session: Session, name: str) -> None:
    """Give a database that has its name back its comment, too, in the session's transaction."""
    [(comment, _)] = session.rows("postgres/database_comment", [name])
    if comment.startswith(ASIDE):
        _write(session, name, _without(comment))


def _without(comment: str) -> str:
    return comment.partition("\n")[2] if comment.startswith(ASIDE) else comment


def _write(session: Session, name: str, comment: str) -> None:
    statement = sql.SQL("comment on database {} is {}")
    text = sql.Literal(comment or None)
    session.connection.execute(statement.format(sql.Identifier(name), text))


_KEPT: Final = re.compile(r"__(?:undone|replaced)(?:_\d+)?$")
_AT_WORK: Final = re.compile(r"__(?:incoming|rehearsal_[0-9a-f]+_[0-9a-f]+)$")


def is_kept(database: str, name: str) -> bool:
    """Whether a database has the name that a move or an undo gives to ``name`` put aside."""
    return _suffixes(database, name, _KEPT)


def is_at_work(database: str, name: str) -> bool:
    """Whether a database has the name that a transfer to ``name`` gives to its work in progress."""
    return _suffixes(database, name, _AT_WORK)


def _suffixes(database: str, name: str, pattern: re.Pattern[str]) -> bool:
    match = pattern.search(database)
    return match is not None and suffixed(name, match[0]) == database


def target_key(name: str) -> int:
    """The key of the advisory lock for a target of this name."""
    return TARGET_KEY | zlib.crc32(name.encode())
