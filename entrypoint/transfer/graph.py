"""The dependency graph: every edge between users' objects at one moment. Reads catalogs only.

An edge leads from one *unit*, such as a table, to another. The graph lifts what belongs to a unit
(indexes, constraints, triggers, the row type) to that unit, and the edge remembers the *part* that
it came from. ``units.sql`` names the catalogs that the graph lifts. An object of another catalog is
a unit of an unknown kind, which a plan must refuse.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..postgres.session import Session

Key = tuple[int, int]  # an address as in pg_depend: the OID of the catalog, and the object's own
PG_CLASS: Final = 1259  # a catalog has the same OID in every database
PG_TYPE: Final = 1247
PG_PROC: Final = 1255
PG_EXTENSION: Final = 3079


class Part(NamedTuple):
    """The part of a unit that needs something. Its name is unique among the parts of its kind."""

    kind: str  # the kind of its obstacle: `fk`, `check`, `index`, `trigger` …
    name: str  # as SQL writes it
    key: Key  # its entry in a dump, if it has one of its own
    plain: str  # the name without quotes


class Edge(NamedTuple):
    """A unit that needs another."""

    user: Key
    used: Key
    part: Part | None  # None if the unit itself needs the other
    via: Key  # the object that it needs: the used unit, or a sequence that the used table owns
    soft: bool = False  # only a name in a text, which the server looks up when it evaluates that


class Strange(NamedTuple):
    """A unit that is neither a relation nor an `Other`."""

    name: str
    known: bool  # `units.sql` names its catalog: it is out of the way, as in a quarantine


class Text(NamedTuple):
    """A text that may name objects."""

    user: Key
    part: Part | None
    text: str


class Named(NamedTuple):
    """An object that a text may name."""

    key: Key
    schema: str
    name: str
    function: bool


class Graph(NamedTuple):
    """All edges between different units."""

    edges: tuple[Edge, ...]
    strange: Mapping[Key, Strange]


# A constant of type text, varchar or name, or of an array of these, in a stored tree. The tree has
# its bytes as signed numbers.
_CONSTANT: Final = re.compile(
    r"\{CONST :consttype (25|1043|19|1009|1015|1003) [^{}]*?:constvalue \d+ \[ ([-\d ]*)\]"
)

# A comment outside of strings.
_COMMENT: Final = re.compile(r"('(?:[^']|'')*')|--[^\n]*|/\*.*?\*/", re.DOTALL)

_WORD: Final = re.compile(
    r'(?:(?P<schema>"(?:[^"]|"")+"|\w[\w$]*)\s*\.\s*)?(?P<name>"(?:[^"]|"")+"|\w[\w$]*)'
    r"(?P<call>\s*\()?"
)


def read(
    session: Session, named: Sequence[Named], bodies: Mapping[Key, str], extensions: Iterable[Key]
) -> Graph:
    """Read every edge in the session's open transaction, whose search_path is the server's own.

    ``named`` are the units besides ``extensions``, by the names that texts use for them; the name
    of an extension's member stands for the extension. ``bodies`` are the texts of functions. Raises
    psycopg's errors.
    """
    rows = session.rows("transfer/dependencies")
    edges = list(map(_edge, rows))
    texts = [Text(key, None, body) for key, body in bodies.items() if body]
    for query, text_of in (
        ("transfer/names_in_expressions", _constants),
        ("transfer/names_in_arguments", _arguments),
    ):
        for row in session.rows(query):
            catalog, oid, kind, plain, name, *entry, found = row
            part = Part(kind, name, (entry[0], entry[1]), plain) if kind else None
            texts.append(Text((catalog, oid), part, text_of(found)))
    edges += names(texts, named)
    there = {each.key for each in named} | {*extensions}
    known = {row[0:2] for row in rows if row[11]} | {row[2:4] for row in rows if row[12]}
    lost = {key for edge in edges for key in (edge.user, edge.used)} - there
    asked = [[key[0] for key in lost], [key[1] for key in lost]]
    described = session.rows("transfer/strange_objects", asked) if lost else []
    strange = {
        (catalog, oid): Strange(name, (catalog, oid) in known) for catalog, oid, name in described
    }
    there |= strange.keys()
    return Graph(tuple(e for e in edges if e.user in there and e.used in there), strange)


def _constants(tree: str) -> str:
    found = []
    for kind, numbers in _CONSTANT.findall(tree):
        value = bytes(int(number) & 255 for number in numbers.split())
        if kind not in ("19", "1003"):
            value = value[4:]  # after its length
        # Zero bytes also separate the elements of an array.
        found.append(value.replace(b"\0", b" ").decode(errors="replace"))
    return " ".join(found)


def _arguments(arguments: bytes) -> str:
    """A trigger stores its arguments with a zero byte after each."""
    return arguments.replace(b"\0", b" ").decode(errors="replace")


def _edge(row: tuple[Any, ...]) -> Edge:
    kind, plain, name, entryclass, entry, viaclass, via = row[4:11]
    part = Part(kind, name, (entryclass, entry), plain) if kind else None
    used = (row[2], row[3])
    return Edge((row[0], row[1]), used, part, (viaclass, via) if via else used)


def names(texts: Iterable[Text], named: Iterable[Named]) -> Iterator[Edge]:
    """Find the objects that texts name outside of comments: a function by a call, others by a word.

    A schema before the name narrows it to that schema. Pure.
    """
    by_name: dict[str, list[Named]] = defaultdict(list)
    schemas = set()
    for each in named:
        by_name[each.name].append(each)
        schemas.add(each.schema)
    for text in texts:
        found = set()
        for word in _WORD.finditer(uncommented(text.text)):
            before, name = _plain(word["schema"]), _plain(word["name"])
            if before in schemas:
                within = [each for each in by_name.get(name, ()) if each.schema == before]
            else:
                within = [*by_name.get(name, ()), *by_name.get(before, ())]
            found |= {each.key for each in within if word["call"] or not each.function}
        found.discard(text.user)
        yield from (Edge(text.user, key, text.part, key, soft=True) for key in sorted(found))


def uncommented(text: str) -> str:
    """SQL, or a function's body, without its comments."""
    return _COMMENT.sub(r"\1 ", text)


def _plain(word: str | None) -> str:
    """The name that an identifier means: without its quotes, or in lower case."""
    word = word or ""
    return word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()
