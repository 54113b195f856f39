"""pg_dump's folder: where it is, whether the disk has room, and which entries a restore takes.

The folder contains rows, so a transfer removes it as soon as it can. A line of the table of
contents is ``dumpId; catalogOid objectOid KIND schema name owner``. A comment or a privilege has no
OID: its line names the object, quoted where SQL would quote it. The rows of a table have its OID
without its catalog.
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

from ..postgres.session import Session
from ..postgres.sql import quoted
from ..process import signals
from .obstacle import Problem
from .plan import Plan
from .source import PG_CLASS, Key, Subject, queried

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
"""The kinds as a dump's comments write them, where a plan writes them differently."""


def _pattern(of: Subject) -> str:
    """Match the comments and privileges of one object, and of no other."""
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
    bare, bracket, arguments = name.partition("(")
    return f"(?:{_escaped(bare)}|{_escaped(quoted(bare))}){_escaped(bracket + arguments)}"


def _escaped(text: str) -> str:
    """A table of contents prints a newline in a name as a space."""
    return re.escape(re.sub(r"[\r\n]", " ", text))


# Only a superuser may make these. They evaluate nothing: they refer to what is there already.
_LATER: Final = (
    *("ACL ", "DEFAULT ACL ", "EVENT TRIGGER ", "PUBLICATION TABLES IN SCHEMA "),
    *("COMMENT - EXTENSION ", "COMMENT - EVENT TRIGGER "),
)


class Selection(NamedTuple):
    """Lines of a table of contents."""

    restored: list[str]
    later: list[str]  # a superuser restores these after the rest
    left: list[str]


class Apart(NamedTuple):
    """What the writer does not restore."""

    there: frozenset[Key]  # the target has these already
    publications: Mapping[Key, str]  # only a superuser may make these; with their names
    tables: frozenset[Key]  # extensions' tables, whose rows only a superuser may write


def select(
    listing: Iterable[str], without: Mapping[Key, Subject], apart: Apart | None = None
) -> Selection:
    """Split a dump's lines into those of ``without``, those for a superuser, and the rest."""
    patterns = "|".join(sorted({_pattern(each) for each in without.values()}))
    about = re.compile(patterns or "(?!)")
    found = Selection([], [], [])
    for line in listing:
        if not (match := _ENTRY.fullmatch(line.strip())):
            continue
        catalog, oid = int(match[1]), int(match[2])
        key = (catalog or PG_CLASS, oid)
        if key in without if oid else about.match(match[3]):
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


PREFIX: Final = "entrypoint-transfer-"
FACTOR: Final = 2
"""Bytes that a dump may take for each byte of its tables: it writes bytea as hex digits, and the
server stores long values compressed."""


@contextmanager
def temporary() -> Iterator[Path]:
    """Make a folder that only this user can read; hold its lock, and remove it at the end."""
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
    """Remove the folders of killed transfers, which hold no lock any more.

    A PID in the name would not do: containers share PIDs.
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
    """Report a disk that may be too small for the dump. Raises `RefusedError`."""
    [(size,)] = queried(session, "looking at sizes", "transfer/data_size", [[*plan.moving], blobs])
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free >= size * FACTOR:
        return []
    return [
        Problem(
            "space",
            f"the dump takes up to {size * FACTOR / 1e6:,.1f} MB, and {folder!r} has "
            f"{free / 1e6:,.1f} MB free",
            "Set TMPDIR to a folder with more, or agree: if the disk gets full, nothing is moved.",
        )
    ]
