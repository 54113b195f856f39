"""A dump as pg_dump writes it: its folder, and its table of contents, of which a part is restored.

There are rows in the folder, so it outlives nobody for longer than necessary. A line of the table
is ``dumpId; catalogOid objectOid KIND schema name owner``. A comment or a privilege has no OID of
its own and names its object instead, quoted where SQL would; rows have their table's OID without
its catalog.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from ..postgres.session import Session, quoted, translated
from ..process import signals
from .graph import PG_CLASS, Key
from .obstacle import Problem
from .plan import Plan
from .source import Subject

PG_NAMESPACE: Final = 2615

_ENTRY = re.compile(r"\d+; (\d+) (\d+) (.+)")

_ABOUT: Final = "(?:ACL|COMMENT|SECURITY LABEL)"

_RELATION: Final = "(?:TABLE|VIEW|MATERIALIZED VIEW|FOREIGN TABLE|SEQUENCE|COLUMN)"

_ALSO: Final = {
    "fk": "CONSTRAINT",
    "trigger": "TRIGGER",
    "rule": "RULE",
    "policy": "POLICY",
    "statistics": "STATISTICS",
    "SERVER": "(?:FOREIGN )?SERVER",
    "TABLE": _RELATION,
    "VIEW": _RELATION,
    "AGGREGATE": "(?:AGGREGATE|FUNCTION)",
}
"""How the comments of a dump call the kinds of a plan, where it is not the same."""


def _pattern(of: Subject) -> str:
    """Matches the comments and rights of it, and nothing of anything else."""
    schema, name = f"(?:{_escaped(of.schema)}|-|pg_catalog)", _either(of.name)
    if of.also is not None:
        name = f"(?:{name}|{_either(of.also)})"
    if of.kind == "index":
        either = f"(?:INDEX {name}|CONSTRAINT {name} ON {_either(of.on or '')}) "
        also = f"(?:INDEX ATTACH|STATISTICS DATA) {schema} {name}(?: |$)"
        return f"(?:{_ABOUT} {schema} {either}|{also})"
    kind = _ALSO.get(of.kind, re.escape(of.kind))
    if of.kind == "DOMAIN":
        check = f"CONSTRAINT .+ ON DOMAIN (?:\\S+\\.)?{name} "
        return f"{_ABOUT} {schema} (?:(?:DOMAIN|TYPE) {name} |{check})"
    if of.kind == "SERVER":  # whose mappings have no OID either
        mapping = f"USER MAPPING - USER MAPPING .+ SERVER {name} "
        return f"(?:{mapping}|{_ABOUT} {schema} {kind} {name}(?: |$))"
    if of.on is not None and of.kind != "statistics":
        return f"{_ABOUT} {schema} {kind} {name} ON {_either(of.on)} "
    return f"{_ABOUT} {schema} {kind} {name}(?:[ .(]|$)"  # an extension has no owner


def _either(name: str) -> str:
    """A name, as it is or quoted."""
    bare, bracket, arguments = name.partition("(")
    return f"(?:{_escaped(bare)}|{_escaped(quoted(bare))}){_escaped(bracket + arguments)}"


def _escaped(text: str) -> str:
    """As a line of a list has it, which a name with a newline does not break."""
    return re.escape(re.sub(r"[\r\n]", " ", text))


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
    listing: Iterable[str], without: Mapping[Key, Subject], apart: Apart | None = None
) -> Selection:
    """Split the lines by whether they are about an object in ``without``.

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


def _about(subjects: Iterable[Subject]) -> re.Pattern[str] | None:
    patterns = sorted({_pattern(each) for each in subjects})
    return re.compile("|".join(patterns)) if patterns else None


PREFIX: Final = "entrypoint-transfer-"

FACTOR: Final = 2
"""Bytes of a dump for each that its tables take at the most, as a rule: bytes are written as twice
as many digits, and long values are stored compressed."""


@contextmanager
def temporary() -> Iterator[Path]:
    """A new folder that only this user can read, locked as long as this process lives."""
    path: Path | None = None
    try:
        with signals.late():
            path = Path(tempfile.mkdtemp(prefix=PREFIX))
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield path
        finally:
            os.close(descriptor)
    finally:
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)


def remove_old() -> None:
    """Remove what transfers that were killed left behind; a lock says who is alive.

    A process's number would not: in containers they are all the same.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_uid == os.geteuid():
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def problems(session: Session, plan: Plan, *, blobs: bool) -> list[Problem]:
    """Whether the folder's disk may be too small for the dump, with ``blobs`` or without.

    What somebody has locked has no size. Raises `RefusedError`.
    """
    with translated("looking at sizes", remedy="Start again."):
        [(size,)] = session.rows("transfer/data_size", [list(plan.moving), blobs])
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free >= size * FACTOR:
        return []
    return [
        Problem(
            "space",
            f"the dump takes up to {_mb(size * FACTOR)}, and {folder!r} has {_mb(free)} free",
            "Name a folder with more by TMPDIR, or agree: should it get full, nothing is moved.",
        )
    ]


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
