"""Which object needs which: every edge between what users made, in one moment. Reads catalogs only.

An edge leads from a *unit*, such as a table, to another. What belongs to a unit (its indexes,
constraints, triggers, the type of its rows) is lifted to it, and the edge remembers the *part* that
it came from. Which catalogs are lifted to what stands in ``units.sql``: an object of a catalog
that does not is a unit of no known kind, and whoever plans must not pass over it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..postgres.session import Session

Key = tuple[int, int]
"""An object's address in pg_depend: the OID of its catalog, and its own."""

PG_CLASS: Final = 1259
"""The OID of pg_class, the same in every database; so are the others."""

PG_TYPE: Final = 1247
PG_PROC: Final = 1255
PG_EXTENSION: Final = 3079


class Part(NamedTuple):
    """What of a unit needs something: its name is unique among the unit's parts of that kind."""

    kind: str
    """As obstacles are called: ``fk``, ``check``, ``index``, ``trigger`` …"""

    name: str
    """As SQL writes it."""

    key: Key
    """Its entry in a dump, if it has one of its own."""

    plain: str
    """The name as it is."""


class Edge(NamedTuple):
    """A unit that needs another."""

    user: Key
    used: Key
    part: Part | None
    """None where the user as such needs it."""

    via: Key
    """What it needs of the used unit: the unit, or a sequence of a table's."""

    soft: bool = False
    """A name in a text that is looked up when it runs: nothing but that depends on it."""


class Strange(NamedTuple):
    """A unit that is neither a relation nor another object of the source's."""

    name: str
    """In the server's words."""

    known: bool
    """Whether its catalog is: then it is out of the way, such as in a quarantine."""


class Text(NamedTuple):
    """A text in which objects are named."""

    user: Key
    part: Part | None
    text: str


class Named(NamedTuple):
    """What a text may name."""

    key: Key
    schema: str
    name: str
    function: bool


class Graph(NamedTuple):
    """All edges between different units."""

    edges: tuple[Edge, ...]
    strange: Mapping[Key, Strange]


# A constant of the types text, varchar or name, or an array of them, in a stored tree: its bytes,
# as signed numbers.
_CONSTANT: Final = re.compile(
    r"\{CONST :consttype (25|1043|19|1009|1015|1003) [^{}]*?:constvalue \d+ \[ ([-\d ]*)\]"
)

# A comment, unless it is in a string.
_COMMENT: Final = re.compile(r"('(?:[^']|'')*')|--[^\n]*|/\*.*?\*/", re.DOTALL)

_WORD: Final = re.compile(
    r'(?:(?P<schema>"(?:[^"]|"")+"|\w[\w$]*)\s*\.\s*)?(?P<name>"(?:[^"]|"")+"|\w[\w$]*)'
    r"(?P<call>\s*\()?"
)


def read(
    session: Session,
    named: Sequence[Named],
    bodies: Mapping[Key, str],
    extensions: Iterable[Key],
) -> Graph:
    """Every edge, in the session's open transaction, whose search_path is the server's own.

    ``named`` are the units that a plan knows besides ``extensions``, as texts may name them; a name
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
    """The texts that are constants in a stored tree."""
    found = []
    for kind, numbers in _CONSTANT.findall(tree):
        value = bytes(int(number) & 255 for number in numbers.split())
        if kind not in ("19", "1003"):
            value = value[4:]  # behind its length
        # In an array, zeros are between the elements too.
        found.append(value.replace(b"\0", b" ").decode(errors="replace"))
    return " ".join(found)


def _arguments(arguments: bytes) -> str:
    """What a trigger's function is called with, each ended by a zero byte."""
    return arguments.replace(b"\0", b" ").decode(errors="replace")


def _edge(row: tuple[Any, ...]) -> Edge:
    kind, plain, name, entryclass, entry, viaclass, via = row[4:11]
    part = Part(kind, name, (entryclass, entry), plain) if kind else None
    used = (row[2], row[3])
    return Edge((row[0], row[1]), used, part, (viaclass, via) if via else used)


def names(texts: Iterable[Text], named: Iterable[Named]) -> Iterator[Edge]:
    """What texts name, apart from their comments: a function by a call, all else by a word.

    A name behind a schema is that schema's only. Pure; takes as long as the texts are.
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
    """The name that an identifier is: a quoted one as it is, another in small letters."""
    word = word or ""
    return word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()
