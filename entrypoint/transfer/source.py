"""What the source database holds, as far as a transfer needs to know. Reads catalogs only."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ..postgres.session import Session, quoted, translated
from . import graph
from .graph import PG_CLASS, PG_EXTENSION, Graph, Key, Named

_KINDS: Final = {
    "r": "TABLE",
    "p": "TABLE",
    "f": "FOREIGN TABLE",
    "v": "VIEW",
    "m": "MATERIALIZED VIEW",
    "S": "SEQUENCE",
}


class Subject(NamedTuple):
    """What entries without an OID of their own are about."""

    schema: str
    kind: str
    name: str
    """With the types of its arguments, if it is a function."""

    also: str | None = None
    """The name with another spelling of the arguments."""

    on: str | None = None
    """The table of a part."""


class Relation(NamedTuple):
    """A table, view, sequence or foreign table of a user."""

    oid: int
    schema: str
    name: str
    kind: str
    """pg_class.relkind"""

    size_bytes: int
    """With indexes, of what moves; 0 of what stays, and of what somebody has locked."""

    rows: int
    parents: tuple[int, ...]
    """What it is a partition of, or inherits from."""

    owner_table: int | None
    """Of a sequence, the table whose column owns it."""

    extension: int
    """Whose it is: the extension's OID, or 0."""

    partition: bool
    forced_rls: bool
    owner: str
    identity: str
    """As SQL writes it where names are looked up in ``public``: unique, and fit to be pasted."""

    @property
    def key(self) -> Key:
        """Its address."""
        return PG_CLASS, self.oid

    def label(self) -> str:
        """For people."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    def names(self) -> set[str]:
        """What people may call it."""
        return {self.name, f"{self.schema}.{self.name}", self.identity}

    def subject(self) -> Subject:
        """What a dump's comments call it."""
        return Subject(self.schema, self.sql_kind(), self.name)

    def sql_kind(self) -> str:
        """As ALTER and DROP have it."""
        return _KINDS[self.kind]

    def quoted(self) -> str:
        """As SQL, and as a pattern for pg_dump that has no wildcards."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


class Other(NamedTuple):
    """A type, domain, function or the like: what is neither a relation nor an extension."""

    key: Key
    kind: str
    """As ALTER has it: TYPE, DOMAIN, FUNCTION, PROCEDURE, AGGREGATE, OPERATOR …"""

    schema: str
    name: str
    """As a dump's comments spell it, of a kind with more than one object of a name."""

    identity: str
    """Schema-qualified SQL, with a function's argument types."""

    body: str
    owner: str
    """Empty for what has none, such as a cast."""

    trigger: bool
    """Whether it is a function that triggers call."""

    arguments: str | None
    """The types of a function's arguments, as the rights of an aggregate have them in a dump."""

    named: str | None
    """The same with modes and names, as all other rights and comments have them."""

    def subject(self) -> Subject:
        """What a dump's comments call it."""
        if self.arguments is None:
            return Subject(self.schema, self.kind, self.name)
        spelt = (f"{self.name}({each})" for each in (self.arguments, self.named))
        return Subject(self.schema, self.kind, *spelt)

    @property
    def plain(self) -> str:
        """The name as it is; empty for what has none that says whose it is, such as a cast."""
        if self.kind in _NAMELESS:
            return ""
        if self.key[0] in (graph.PG_TYPE, graph.PG_PROC):
            return self.name
        match = _FIRST.match(self.name)
        return match[1].replace('""', '"') if match else self.name.split(" USING ")[0]

    def movable(self) -> bool:
        """Whether ALTER puts it into another schema, or it goes along with what it is of."""
        return self.kind in MOVABLE


MOVABLE: Final = (
    *("CAST", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "AGGREGATE", "FUNCTION"),
    *("PROCEDURE", "DOMAIN", "TYPE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY"),
    *("TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "COLLATION", "CONVERSION"),
)
"""Kinds of `Other` that can be in a quarantine, in an order in which they can be dropped."""

_NAMELESS: Final = ("CAST", "OPERATOR", "TRANSFORM", "USER MAPPING")

# Of the rarer kinds, a name is quoted where it must be.
_FIRST: Final = re.compile(r'"((?:[^"]|"")*)"')


class Publication(NamedTuple):
    """What is published, to whom it may concern."""

    key: Key
    name: str
    tables: Mapping[Key, int]
    """Those that it names, by their entries; none when it is for all, or for schemas."""

    schemas: Mapping[Key, str]
    """The entries of those that it names."""

    everything: bool
    identity: str


class Subscription(NamedTuple):
    """What fills tables with what another server publishes."""

    identity: str
    tables: frozenset[int]


class Source(NamedTuple):
    """A database to move from; mappings are by OID."""

    relations: Mapping[int, Relation]
    others: Mapping[Key, Other]
    graph: Graph
    parts: frozenset[tuple[Key, Key]]
    """Views and domains, and what a dump has of each besides, such as indexes and rules."""

    publications: tuple[Publication, ...]
    subscriptions: tuple[Subscription, ...]
    extensions: Mapping[Key, str]
    granted: tuple[tuple[Key, Key, Subject], ...]
    """Extensions, and what of theirs has rights that a dump may hold."""

    large_objects: int
    settings: tuple[tuple[str | None, str], ...]
    """ALTER DATABASE ... SET: the role, or None for all, and ``name=value``."""

    encoding: str
    locale: tuple[str, str]
    owner: str
    role: str
    """Whose eyes looked."""

    superuser: bool
    digest: str = ""
    """Of the catalogs; see `digest.of`. Empty where nobody asks again."""


_QUERIES: Final = (
    "transfer/relations",
    "transfer/types_and_functions",
    "transfer/rare_objects",
    "transfer/parts",
    "transfer/publications",
    "transfer/subscriptions",
    "transfer/granted_members",
)


def read(session: Session) -> Source:
    """Look at the session's database in its open transaction.

    Waits for no lock on a table. Raises `RefusedError` and `UnreachableError`.
    """
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
            Named(key, each.schema, each.plain, function=key[0] == graph.PG_PROC)
            for key, each in by_key.items()
            if each.plain
        ]
        named += [
            Named((PG_EXTENSION, oid), schema, name, function=function)
            for oid, name, schema, function in session.rows("transfer/names_of_extensions")
        ]
        extensions = {(PG_EXTENSION, oid): name for oid, name in rest[0] or ()}
        bodies = {key: each.body for key, each in by_key.items()}
        edges = graph.read(session, named, bodies, extensions)
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


def sizes(session: Session, oids: Iterable[int]) -> dict[int, int]:
    """Bytes of relations with their indexes, but for what somebody has locked.

    Raises `RefusedError` and `UnreachableError`.
    """
    with translated("looking at sizes", remedy="Start again."):
        rows = session.rows("transfer/sizes", [[*oids]])
    return {oid: size or 0 for oid, size in rows}
