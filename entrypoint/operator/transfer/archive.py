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

PG_NAMESPACE: Final = 2615

_ENTRY = re.compile(r"\d+; (\d+) (\d+) (.+)")

_ABOUT: Final = "(?:ACL|COMMENT|SECURITY LABEL)"

_KINDS: Final = (
    "(?:TABLE|VIEW|MATERIALIZED VIEW|FOREIGN TABLE|SEQUENCE|COLUMN|FUNCTION|PROCEDURE|AGGREGATE|"
    "TYPE|DOMAIN|CONSTRAINT|PUBLICATION)"
)


# What only a superuser may make, and evaluates nothing: it is about what is there already.
_LATER: Final = (
    "ACL ",
    "DEFAULT ACL ",
    "EVENT TRIGGER ",
    "PUBLICATION TABLES IN SCHEMA ",
    "COMMENT - EXTENSION ",
    "COMMENT - EVENT TRIGGER ",
)


class Selection(NamedTuple):
    """Lines of a table of contents."""

    restored: list[str]
    later: list[str]
    """What is restored by a superuser, when the rest is there."""

    left: list[str]


class Apart(NamedTuple):
    """What is not restored with the rest."""

    there: frozenset[Key]
    """What the target has already."""

    publications: Mapping[Key, str]
    """Those that only a superuser may make, with their names."""

    tables: frozenset[Key]
    """Those of extensions, whose rows nobody else may write."""


def select(
    listing: Iterable[str], without: Mapping[Key, tuple[str, str]], apart: Apart | None = None
) -> Selection:
    """Split the lines by whether they are about an object in ``without`` (its schema and name).

    All that is restored is restored with the rest where nothing is set ``apart``.
    """
    about = _about(without.values())
    found = Selection([], [], [])
    for line in listing:
        if not (match := _ENTRY.fullmatch(line.strip())):
            continue
        catalog, oid = int(match[1]), int(match[2])
        key = (catalog or PG_CLASS, oid)
        if key in without if oid else about is not None and about.match(match[3]):
            found.left.append(line.strip())
        elif apart is None:
            found.restored.append(line.strip())
        elif key not in apart.there and not match[3].startswith("EXTENSION "):
            late = key in apart.publications if oid else _comments(match[3], apart.publications)
            late = late or key in apart.tables or match[3].startswith(_LATER)
            (found.later if late else found.restored).append(line.strip())
    return found


def _comments(entry: str, publications: Mapping[Key, str]) -> bool:
    names = (name for each in publications.values() for name in {each, quoted(each)})
    return any(entry.startswith(f"COMMENT - PUBLICATION {name} ") for name in names)


def _about(names: Iterable[tuple[str, str]]) -> re.Pattern[str] | None:
    subjects = [
        f"{re.escape(schema)} {_KINDS} (?:{re.escape(name)}|{re.escape(quoted(name))})"
        for schema, name in names
    ]
    return re.compile(f"{_ABOUT} (?:{'|'.join(subjects)})(?=[ (.])") if subjects else None
