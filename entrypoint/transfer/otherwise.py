"""What a restore makes otherwise than it is in the source, without failing: as obstacles. Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from ..postgres.session import quoted
from .compare import Difference, records
from .obstacle import Problem

OBJECTS: Final = 10
"""Objects that are told of; the last one says how many more there are."""

SHOWN: Final = 4
"""Facts that are told of one object."""

LENGTH: Final = 300
"""Characters of a fact that are told."""

_BARE = re.compile(r"[a-z_][a-z0-9_$]*")

_NAME: Final = r'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'

_QUALIFIED = re.compile(rf"{_NAME}\.{_NAME}")

_INDEX = re.compile(rf"CREATE (?:UNIQUE )?INDEX ({_NAME}) ON ")

_OF_RELATIONS: Final = ("relation", "columns", "inherits", "index", "sequence", "policy", "type")
"""Facts whose second and third field are a schema and a name in it."""

_OF_TEXTS: Final = ("function", "trigger", "rule", "statistics")
"""Facts that hold a statement, whose first qualified name says what it is about."""

_ANEW: Final = (
    "Make it anew in the source by the statements that pg_dump --schema-only has for it, or drop "
    "it."
)


def problems(differences: Sequence[Difference]) -> Iterator[Problem]:
    """An obstacle for each object that is another one after a restore."""
    found: dict[str, list[Difference]] = {}
    for each in differences:
        found.setdefault(subject(each.fact), []).append(each)
    left = len(found) - OBJECTS
    for number, (name, those) in enumerate(found.items(), 1):
        message, remedy = _told(name, those)
        if number == OBJECTS and left > 0:
            message += f" (and {left} more objects are made otherwise)"
        yield Problem(f"facts:{name}", message, remedy, allowable=False)
        if number == OBJECTS:
            return


def subject(fact: str) -> str:
    """What a fact is about, as SQL writes it where names are looked up in ``public``."""
    fields = records(fact)[0]
    kind, rest = fields[0], fields[1:]
    name = rest[0]
    if kind in _OF_RELATIONS:
        name = _identity(*rest[:2])
    elif kind == "constraint":
        name = _identity(*(rest[:2] if rest[1] else rest[2:4]))
    elif kind == "rights":
        name = _whose(records(rest[0])[0])
    elif internal := _internal(fields):
        name = _identity(*internal[:2])
    elif kind in _OF_TEXTS:
        match = _QUALIFIED.search(rest[-1])
        name = match[0] if match else kind
    elif kind == "comment":
        name = rest[1]
    elif kind in ("object", "carried"):
        name = " ".join(rest[:2])
    return name.removeprefix("public.")


def _whose(what: Sequence[str]) -> str:
    if what[0] == "default":
        return "default rights"
    if what[0] in ("type", "function"):
        return what[1]
    return what[0] if "." in what[0] else _identity(*what[:2])


def _identity(schema: str, name: str) -> str:
    words = [name] if schema == "public" else [schema, name]
    return ".".join(each if _BARE.fullmatch(each) else quoted(each) for each in words)


def _internal(fields: Sequence[str]) -> Sequence[str]:
    """Schema, table and constraint of a trigger that enforces one, else nothing."""
    if fields[0] == "trigger" and fields[-1].startswith("("):
        return records(fields[-1])[0]
    return ()


def _told(name: str, those: Sequence[Difference]) -> tuple[str, str]:
    here, there = (
        [column for each in those if each.side == side for column in _columns(each.fact)]
        for side in ("source", "target")
    )
    if here != there and sorted(here) == sorted(there):
        return _reordered(name, [each[0] for each in here], [each[0] for each in there])
    shown = [f"only in the {each.side}: {each.fact[:LENGTH]}" for each in those[:SHOWN]]
    shown += [f"{len(those) - SHOWN} more"] if len(those) > SHOWN else []
    remedy = _ANEW
    if invalid := _invalid(those):
        words = "; ".join(f"REINDEX INDEX {each}" for each in invalid)
        return (
            f"{', '.join(invalid)} of {name} is not valid, and a restore does not make it",
            f"Wait until it is built if somebody is at it; else run {words}, or drop it.",
        )
    if all(_internal(records(each.fact)[0]) for each in those):
        remedy = (
            f"Run ALTER TABLE {name} ENABLE TRIGGER ALL: a restore turns on what enforces "
            "constraints. What else was off is to be turned off again by its name."
        )
    return f"a restore makes {name} otherwise, without an error: {'; '.join(shown)}", remedy


def _invalid(those: Sequence[Difference]) -> list[str]:
    """Indexes, where they are all that differs: a dump has each but what is not valid."""
    found = []
    for each in those:
        kind, *fields = records(each.fact)[0]
        match = next(filter(None, map(_INDEX.match, fields)), None)
        if each.side != "source" or kind != "index" or match is None:
            return []
        found.append(f"{quoted(fields[0])}.{match[1]}")
    return found


def _columns(fact: str) -> list[list[str]]:
    first, *columns = records(fact)
    return columns if first[0] == "columns" else []


def _reordered(name: str, here: Sequence[str], there: Sequence[str]) -> tuple[str, str]:
    """A table's columns can be made anew at the end only: those that must be, in their order."""
    place, kept = -1, 0
    for column in there:
        if here.index(column) < place:
            break
        place, kept = here.index(column), kept + 1
    late = ", ".join(there[kept:])
    message = (
        f"a restore puts the columns of {name} in another order, its parents' first: "
        f"{', '.join(there)} instead of {', '.join(here)}"
    )
    remedy = (
        f"Make {late} of {name} anew, in this order: ALTER TABLE ... RENAME COLUMN to another "
        "name, ADD COLUMN, UPDATE, DROP COLUMN, and whatever was on it. For a column that a "
        "parent has, too, run ALTER TABLE ... NO INHERIT first, and INHERIT at the end."
    )
    return message, remedy
