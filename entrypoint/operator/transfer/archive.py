"""The table of contents of a dump: what of it is restored. Pure.

A line is ``dumpId; catalogOid objectOid KIND schema name owner``. A comment or a privilege has no
OID of its own and names its object instead, quoted where SQL would; rows have their table's OID
without its catalog.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from .source import Key, quoted

PG_CLASS: Final = 1259
"""The OID of pg_class, the same in every database."""

_ENTRY = re.compile(r"\d+; (\d+) (\d+) (.+)")

_ABOUT: Final = "(?:ACL|COMMENT|SECURITY LABEL)"

_KINDS: Final = (
    "(?:TABLE|VIEW|MATERIALIZED VIEW|FOREIGN TABLE|SEQUENCE|COLUMN|FUNCTION|PROCEDURE|AGGREGATE|"
    "TYPE|DOMAIN|CONSTRAINT|PUBLICATION)"
)


class Selection(NamedTuple):
    """Lines of a table of contents."""

    restored: list[str]
    left: list[str]


def select(listing: Iterable[str], without: Mapping[Key, tuple[str, str]]) -> Selection:
    """Split the lines by whether they are about an object in ``without`` (its schema and name)."""
    about = _about(without.values())
    restored: list[str] = []
    left: list[str] = []
    for line in listing:
        if not (match := _ENTRY.fullmatch(line.strip())):
            continue
        catalog, oid = int(match[1]), int(match[2])
        key = (catalog or PG_CLASS, oid)
        gone = key in without if oid else about is not None and about.match(match[3])
        (left if gone else restored).append(line.strip())
    return Selection(restored, left)


def _about(names: Iterable[tuple[str, str]]) -> re.Pattern[str] | None:
    subjects = [
        f"{re.escape(schema)} {_KINDS} (?:{re.escape(name)}|{re.escape(quoted(name))})"
        for schema, name in names
    ]
    return re.compile(f"{_ABOUT} (?:{'|'.join(subjects)})(?=[ (.])") if subjects else None
