"""Where a transfer keeps what it moved: schemas, whose comments say where all of it came from.

`transfer` fills and empties them; whoever lists what a database has must know them.
"""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from .session import Session, translated

MARK: Final = "entrypoint moved: "
"""How the comment of a schema begins in which a transfer keeps what it moved."""


class Note(NamedTuple):
    """What such a comment says."""

    service: str
    database: str
    """Where the objects went."""

    origin: str
    """The schema that they came from."""

    at: str
    """When; the same for all schemas of one move."""

    where: str = ""
    """The other server to which they went; empty if it is the same one."""

    replaced: str = ""
    """The OID of the database that was there before, on the same server; 0 if there was none."""


def note(comment: str | None) -> Note | None:
    """Read the comment of a schema; None for any other comment, so that it hides nothing."""
    before, mark, text = (comment or "").partition(MARK)
    if before or not mark:
        return None
    try:
        data = json.loads(text)
        found = {**Note._field_defaults, **data}  # earlier versions wrote less
        values = [found[name].encode().decode() for name in Note._fields]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    return Note(*values)


class Quarantine(NamedTuple):
    """One schema of moved objects."""

    schema: str
    service: str
    database: str
    """Where the objects went."""

    origin: str
    """The schema that they came from."""

    at: str
    """When; the same for all schemas of one move."""

    where: str
    """The other server to which they went; empty if it is the same one."""

    replaced: str
    """The OID of the database that was there before, on the same server; 0 if there was none."""

    size_bytes: int

    def note(self) -> Note:
        """What its comment says."""
        return Note(*self[1:-1])


def find(session: Session, service: str | None = None, *, sizes: bool = False) -> list[Quarantine]:
    """The quarantines in the session's database, of one service or of all, the oldest first.

    With their ``sizes`` it waits for whoever has a table in one locked.
    """
    with translated("looking for quarantined objects", remedy="Start again."):
        rows = session.rows("postgres/quarantines", [sizes, MARK])
    found = [
        Quarantine(schema, *read, size)
        for schema, comment, size in rows
        if (read := note(comment)) and service in (None, read.service)
    ]
    return sorted(found, key=lambda each: each.at)


def newest(found: Sequence[Quarantine]) -> list[Quarantine]:
    """Those of the last move."""
    return [each for each in found if each.at == found[-1].at]
