"""Where a transfer keeps what it moved: schemas, with a comment that says where that came from.

`transfer` fills and drops them; code that lists a database's objects must know them.
"""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from .session import Session, translated

MARK: Final = "entrypoint moved: "  # the comment of a quarantine's schema begins with it


class Note(NamedTuple):
    """The comment of a quarantine's schema."""

    service: str
    database: str  # the objects went there
    origin: str
    at: str  # the time of the move, the same for all its schemas
    where: str = ""  # the other server to which they went; empty for the same server
    replaced: str = ""  # OID of the database there before, on the same server; 0 without one


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
    """One schema of moved objects; all fields but the first and the last are those of `Note`."""

    schema: str
    service: str
    database: str
    origin: str
    at: str
    where: str
    replaced: str
    size_bytes: int

    def note(self) -> Note:
        """The content of the schema's comment."""
        return Note(*self[1:-1])


def find(session: Session, service: str | None = None, *, sizes: bool = False) -> list[Quarantine]:
    """List quarantines of a service or of all, the oldest first; ``sizes`` wait for locks."""
    with translated("listing quarantines", remedy="Start again."):
        rows = session.rows("postgres/quarantines", [sizes, MARK])
    found = [
        Quarantine(schema, *read, size)
        for schema, comment, size in rows
        if (read := note(comment)) and service in (None, read.service)
    ]
    return sorted(found, key=lambda each: each.at)


def newest(found: Sequence[Quarantine]) -> list[Quarantine]:
    """The quarantines of the last move."""
    return [each for each in found if each.at == found[-1].at]
