"""What the source database contains, as far as a transfer needs it. Reads catalogs only.

An edge of the dependency graph leads from one *unit*, such as a table, to another. The graph lifts
what belongs to a unit (indexes, constraints, triggers, the row type) to that unit, and the edge
remembers the *part* that it came from. ``units.sql`` names the catalogs that the graph lifts. An
object of another catalog is a unit of an unknown kind, which a plan must refuse.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from psycopg.abc import Params
from psycopg.rows import TupleRow

from ..postgres.session import Session, translated
from ..postgres.sql import quoted

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


def read_graph(
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
    edges += names_in(texts, named)
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


def names_in(texts: Iterable[Text], named: Iterable[Named]) -> Iterator[Edge]:
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


_KINDS: Final = {
    "r": "TABLE",
    "p": "TABLE",
    "f": "FOREIGN TABLE",
    "v": "VIEW",
    "m": "MATERIALIZED VIEW",
    "S": "SEQUENCE",
}


class Subject(NamedTuple):
    """The object of a dump's entry that has no OID of its own."""

    schema: str
    kind: str
    name: str  # with a function's argument types
    also: str | None = None  # the name with another spelling of the arguments
    on: str | None = None  # the table of a part


class Relation(NamedTuple):
    """A user's table, view, sequence or foreign table."""

    oid: int
    schema: str
    name: str
    kind: str  # pg_class.relkind
    size_bytes: int  # with indexes; 0 if the relation stays, or if another session has locked it
    rows: int
    parents: tuple[int, ...]  # the tables that it is a partition of, or inherits from
    owner_table: int | None  # the table whose column owns this sequence
    extension: int  # the OID of its extension, or 0
    partition: bool
    forced_rls: bool
    owner: str
    identity: str  # as SQL writes it with `public` in the search_path: unique, and fit to paste

    @property
    def key(self) -> Key:
        """Its address in pg_depend."""
        return PG_CLASS, self.oid

    def label(self) -> str:
        """The name for people."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    def names(self) -> set[str]:
        """The names that an operator may use."""
        return {self.name, f"{self.schema}.{self.name}", self.identity}

    def subject(self) -> Subject:
        """The relation as a dump's comments name it."""
        return Subject(self.schema, self.sql_kind(), self.name)

    def sql_kind(self) -> str:
        """The kind as ALTER and DROP write it."""
        return _KINDS[self.kind]

    def quoted(self) -> str:
        """The name as SQL, and as a pattern without wildcards for pg_dump."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


class Other(NamedTuple):
    """A type, domain, function or the like: neither a relation nor an extension."""

    key: Key
    kind: str  # as ALTER writes it: TYPE, DOMAIN, FUNCTION, PROCEDURE, AGGREGATE, OPERATOR …
    schema: str
    name: str  # as a dump's comments spell it, if a name of this kind may stand for several objects
    identity: str  # schema-qualified SQL, with a function's argument types
    body: str
    owner: str  # empty if it has none, such as a cast
    trigger: bool  # whether it is a trigger function
    arguments: str | None  # of a function, as a dump writes them in an aggregate's rights
    named: str | None  # the same with modes and names, as in all other rights and comments

    def subject(self) -> Subject:
        """The object as a dump's comments name it."""
        if self.arguments is None:
            return Subject(self.schema, self.kind, self.name)
        spelt = (f"{self.name}({each})" for each in (self.arguments, self.named))
        return Subject(self.schema, self.kind, *spelt)

    @property
    def plain(self) -> str:
        """The name without quotes; empty for a kind whose names do not show whose it is: a cast."""
        if self.kind in _NAMELESS:
            return ""
        if self.key[0] in (PG_TYPE, PG_PROC):
            return self.name
        match = _FIRST.match(self.name)
        return match[1].replace('""', '"') if match else self.name.split(" USING ")[0]


MOVABLE: Final = (
    *("CAST", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "AGGREGATE", "FUNCTION"),
    *("PROCEDURE", "DOMAIN", "TYPE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY"),
    *("TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "COLLATION", "CONVERSION"),
)
"""Kinds of `Other` that ALTER moves into another schema, or that follow their types, in an order in
which DROP removes them."""

_NAMELESS: Final = ("CAST", "OPERATOR", "TRANSFORM", "USER MAPPING")

# The names of the rarer kinds have quotes where SQL needs them.
_FIRST: Final = re.compile(r'"((?:[^"]|"")*)"')


class Publication(NamedTuple):
    """A publication, and what it publishes."""

    key: Key
    name: str
    tables: Mapping[Key, int]  # those it names, by entry; none for all tables, or schemas
    schemas: Mapping[Key, str]  # the schemas that it names, by their entries
    everything: bool
    identity: str


class Subscription(NamedTuple):
    """A subscription, and the tables that it fills."""

    identity: str
    tables: frozenset[int]


class Source(NamedTuple):
    """The database to move from; mappings are by OID."""

    relations: Mapping[int, Relation]
    others: Mapping[Key, Other]
    graph: Graph
    parts: frozenset[tuple[Key, Key]]  # views and domains with a dump's entry (rule, index)
    publications: tuple[Publication, ...]
    subscriptions: tuple[Subscription, ...]
    extensions: Mapping[Key, str]
    granted: tuple[tuple[Key, Key, Subject], ...]  # extensions, with members that have rights
    large_objects: int
    settings: tuple[tuple[str | None, str], ...]  # ALTER DATABASE SET: role or None, `name=value`
    encoding: str
    locale: tuple[str, str]
    owner: str
    role: str  # the role that looked
    superuser: bool
    digest: str = ""  # see `request.digest`; empty if nobody asks again


_QUERIES: Final = (
    *("transfer/relations", "transfer/types_and_functions", "transfer/rare_objects"),
    *("transfer/parts", "transfer/publications", "transfer/subscriptions"),
    "transfer/granted_members",
)


def read(session: Session) -> Source:
    """Read the database without table locks. Raises `RefusedError` and `UnreachableError`."""
    path = "set local search_path = pg_catalog, pg_temp; set local lock_timeout = '1s'"
    with (
        translated("looking at the source", remedy="Let the role read its catalogs."),
        session.savepoint(path, undone=True),
    ):
        relations, others, rarer, parts, published, subscribed, granted = (
            [row for (part,) in session.rows(query) for row in part or []] for query in _QUERIES
        )
        [rest] = session.rows("transfer/database_facts")
        by_oid = {row[0]: Relation(*[*row[:6], tuple(row[6]), *row[7:]]) for row in relations}
        by_key = {(row[0], row[1]): Other((row[0], row[1]), *row[2:]) for row in others + rarer}
        named = [
            Named(each.key, each.schema, each.name, function=False)
            for each in by_oid.values()
            if not each.extension
        ]
        named += [
            Named(key, each.schema, each.plain, function=key[0] == PG_PROC)
            for key, each in by_key.items()
            if each.plain
        ]
        named += [
            Named((PG_EXTENSION, oid), schema, name, function=function)
            for oid, name, schema, function in session.rows("transfer/names_of_extensions")
        ]
        extensions = {(PG_EXTENSION, oid): name for oid, name in rest[0] or ()}
        bodies = {key: each.body for key, each in by_key.items()}
        edges = read_graph(session, named, bodies, extensions)
    _, blobs, settings, encoding, collate, ctype, owner, role, superuser = rest
    return Source(
        by_oid,
        by_key,
        edges,
        frozenset(((kind, unit), (catalog, oid)) for kind, unit, catalog, oid in parts),
        tuple(
            Publication(
                (catalog, oid),
                name,
                {(entry, of): table for entry, of, table in tables},
                {(entry, of): schema for entry, of, schema in schemas},
                everything,
                identity,
            )
            for catalog, oid, name, tables, schemas, everything, identity in published
        ),
        tuple(Subscription(name, frozenset(tables)) for name, tables in subscribed),
        extensions,
        tuple(
            ((PG_EXTENSION, extension), (catalog, oid), Subject(*subject))
            for extension, catalog, oid, *subject in granted
        ),
        blobs,
        tuple((role, setting) for role, setting in settings or ()),
        encoding,
        (collate, ctype),
        owner,
        role,
        superuser,
    )


def queried(
    session: Session, doing: str, query: str, params: Params | None = None
) -> list[TupleRow]:
    """The rows of `Session.rows`; an error says what the transfer was ``doing``.

    Raises `RefusedError` and `UnreachableError`.
    """
    with translated(doing, remedy="Run the command again."):
        return session.rows(query, params)


def sizes(session: Session, oids: Iterable[int]) -> dict[int, int]:
    """Bytes with indexes, or 0 if another session has a lock; raises as `read` does."""
    rows = queried(session, "looking at sizes", "transfer/sizes", [[*oids]])
    return {oid: size or 0 for oid, size in rows}
