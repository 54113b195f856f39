"""What transfers leave on a server for others to see: databases with names and marks, and locks.

The name alone is no evidence, for anybody may call a database so. What is put aside gets a line of
ours at the beginning of its comment, in the transaction that renames it; only the database's owner
can write one. The rest of the comment stays, among it the ledger, whose line is the last.
"""

import json
import re
import zlib
from typing import Final, NamedTuple

from psycopg import sql

from .databases import Database
from .session import Session, translated

TARGET_KEY: Final = 0x656E74 << 32  # "ent"
"""Of the advisory locks of targets, with the CRC of the target's name in its lower half."""

REPLACED: Final = "__replaced"

ASIDE: Final = "entrypoint put aside: "
"""How the first line of the comment begins; behind it is JSON."""


class Aside(NamedTuple):
    """What the mark says."""

    database: str
    """What it was called before."""

    name: str
    """What it was called when it was put aside; one that has another name now is somebody's."""

    at: str


def aside(comment: str | None) -> Aside | None:
    """Read the mark in a database's comment; None where there is none of ours."""
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
    """The mark of the database of this name; None where it, or its mark, is not there."""
    with translated("looking at a database's comment", remedy="Start again."):
        rows = session.rows("postgres/database_comment", [name])
    return aside(rows[0][0]) if rows else None


def is_aside(database: Database, name: str) -> bool:
    """Whether a database is what was called so until a move or an undo put it aside."""
    found = aside(database.comment)
    return found is not None and (found.database, found.name) == (name, database.name)


def mark(session: Session, database: str, name: str) -> None:
    """Mark one that has just been renamed from ``database`` to ``name``, in the transaction."""
    [(comment, at)] = session.rows("postgres/database_comment", [name])
    line = ASIDE + json.dumps(Aside(database, name, at)._asdict())
    _write(session, name, f"{line}\n{_without(comment)}".rstrip("\n"))


def unmark(session: Session, name: str) -> None:
    """Give one that has its name back the comment that it had, in the session's transaction."""
    [(comment, _)] = session.rows("postgres/database_comment", [name])
    if comment.startswith(ASIDE):
        _write(session, name, _without(comment))


def _without(comment: str) -> str:
    return comment.partition("\n")[2] if comment.startswith(ASIDE) else comment


def _write(session: Session, name: str, comment: str) -> None:
    statement = sql.SQL("comment on database {} is {}")
    text = sql.Literal(comment or None)
    session.connection.execute(statement.format(sql.Identifier(name), text))


def suffixed(name: str, suffix: str) -> str:
    """A name with a suffix that fits into what PostgreSQL keeps of it."""
    return name.encode()[: 63 - len(suffix)].decode("utf-8", "ignore") + suffix


_KEPT: Final = re.compile(r"__(?:undone|replaced)(?:_\d+)?$")

_AT_WORK: Final = re.compile(r"__(?:incoming|rehearsal_[0-9a-f]+_[0-9a-f]+)$")


def is_kept(database: str, name: str) -> bool:
    """Whether a database is one of this name that a move or an undo has put aside."""
    return _suffixes(database, name, _KEPT)


def is_at_work(database: str, name: str) -> bool:
    """Whether a transfer to a database of this name makes it, or was killed when it did."""
    return _suffixes(database, name, _AT_WORK)


def _suffixes(database: str, name: str, pattern: re.Pattern[str]) -> bool:
    match = pattern.search(database)
    return match is not None and suffixed(name, match[0]) == database


def target_key(name: str) -> int:
    """Of the advisory lock of a target of this name."""
    return TARGET_KEY | zlib.crc32(name.encode())
