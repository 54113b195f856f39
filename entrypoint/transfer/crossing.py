"""Dependencies between what moves and what stays, one `Problem` for each part of a unit. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from ..postgres.sql import quoted
from .fates import TABLES, Fates, whole
from .obstacle import Problem, final, unique
from .source import PG_CLASS, Edge, Key, Other, Publication, Relation, Source, Subject, uncommented

APART: Final = ("fk", "index", "trigger", "rule", "policy", "statistics")
"""Parts of a table that have entries of their own in a dump; CREATE TABLE contains the others."""

_WORDS: Final = {
    "fk": "the foreign key",
    "default": "the default of the column",
    "generated": "the generated column",
    "column": "the column",
    "check": "the check",
    "inherits": "the table",
    "partition": "the partition",
    "table": "the table",
    "quarantine": "the quarantined",
}
_BACK: Final = {
    "fk": "it points to the quarantine, which gets no more rows",
    "view": "it reads from the quarantine",
    "default": "it keeps using the quarantine",
}
"""What becomes of an object that stays and needs a relation that moves."""

_MEND: Final = {
    "partition": "Detach it",
    "inherits": "Run ALTER TABLE ... NO INHERIT for it",
    "column": "Give it another type, or drop it",
    "default": "Give it another default, or drop it",
}

# A prefix that stands alone. Variables rarely end in an underscore, and in a full name a letter
# follows it.
_LAST: Final = re.compile(r"(?<![\w$])\w+_(?![\w$])")


class Left(NamedTuple):
    """A part of a moving relation that the target does not get."""

    kind: str
    relation: Relation
    name: str

    def subject(self) -> Subject:
        """The part as a dump's comments name it."""
        return Subject(self.relation.schema, self.kind, self.name, on=self.relation.name)


class _Met(NamedTuple):
    """What one part needs; ``back`` if the part stays and what it needs moves."""

    back: bool
    edges: list[Edge]


def find(
    fates: Fates, prefixes: Mapping[str, bool]
) -> tuple[tuple[Problem, ...], dict[Key, Left], frozenset[int]]:
    """Find all that crosses; ``prefixes`` says for every service's prefix whether it moves.

    Returns also `Plan.left` and `Plan.shared`.
    """
    source = fates.source
    back, out = _edges(fates)
    parts = {(edge.user, edge.part.kind, edge.part.plain) for edge in (*back, *out) if edge.part}
    met: dict[tuple[str, str], _Met] = {}
    left: dict[Key, Left] = {}
    shared: set[int] = set()
    for edges, is_back in ((back, True), (out, False)):
        for edge in edges:
            kind, name = _named(source, edge, parts)
            met.setdefault((kind, name), _Met(is_back, [])).edges.append(edge)
            if is_back or (edge.soft and _sequence(source, edge) is None):
                continue
            if edge.part and kind in APART:
                relation = source.relations[edge.user[1]]
                left[edge.part.key] = Left(kind, relation, edge.part.plain)
            elif kind == "default" and (sequence := _sequence(source, edge)):
                shared.add(sequence.oid)
    _leave_clones(source, left)
    crossings = [_crossing(fates, kind, name, each) for (kind, name), each in met.items()]
    crossings += [*_copied(fates), *_composed(fates, prefixes)]
    crossings += [*_published(fates), *_subscribed(fates), *_unknown(fates)]
    return tuple(unique(sorted(crossings))), left, frozenset(shared)


def _leave_clones(source: Source, left: dict[Key, Left]) -> None:
    """Leave out the clones of a trigger on partitions, which depend on that trigger alone."""
    clones: dict[tuple[int, str], list[Edge]] = defaultdict(list)
    for edge in source.graph.edges:
        if edge.part and edge.part.kind == "trigger" and _of_parent(source, edge):
            clones[edge.used[1], edge.part.plain].append(edge)
    waiting = [each for each in left.values() if each.kind == "trigger"]
    while waiting:
        each = waiting.pop()
        for edge in clones[each.relation.oid, each.name]:
            if edge.part and edge.part.key not in left:
                clone = Left("trigger", source.relations[edge.user[1]], each.name)
                left[edge.part.key] = clone
                waiting.append(clone)


def _of_parent(source: Source, edge: Edge) -> bool:
    """Whether the edge leads from a part of a partition to that of its table."""
    if edge.part is None or edge.part.kind == "fk" or edge.user[0] != PG_CLASS:
        return False
    relation = source.relations.get(edge.user[1])
    return relation is not None and edge.used[0] == PG_CLASS and edge.used[1] in relation.parents


def _edges(fates: Fates) -> tuple[list[Edge], list[Edge]]:
    """Edges from what stays to what moves, and from what moves to what the target does not get."""
    back, out = [], []
    for edge in fates.source.graph.edges:
        if _of_parent(fates.source, edge):
            continue
        if edge.user not in fates.moves:
            moved = edge.used in fates.moves
            if moved or (edge.used in fates.kept and edge.user not in fates.kept):
                back.append(edge)
        elif edge.used in fates.absent:
            out.append(edge)
    return back, out


def _named(source: Source, edge: Edge, parts: set[tuple[Key, str, str]]) -> tuple[str, str]:
    """The kind and the name of an obstacle."""
    other = source.others.get(edge.user)
    if other is not None:
        kind, _, identity = _name_of(other).partition(":")
        return kind, identity
    relation = source.relations.get(edge.user[1]) if edge.user[0] == PG_CLASS else None
    if relation is None:
        strange = source.graph.strange.get(edge.user)
        publication = {each.key: each for each in source.publications}.get(edge.user)
        if publication:
            return "publication", publication.identity
        if extension := source.extensions.get(edge.user):
            return "extension", extension
        return "quarantine", strange.name if strange else str(edge.user)
    if edge.part is None:
        return _whole_kind(relation, edge), relation.identity
    kind, plain = edge.part.kind, edge.part.plain
    while relation.partition and kind in ("trigger", "fk"):
        parent = source.relations.get(relation.parents[0])
        if parent is None or (parent.key, kind, plain) not in parts:
            break
        relation = parent
    return kind, f"{relation.identity}.{edge.part.name}"


def _whole_kind(relation: Relation, edge: Edge) -> str:
    if relation.kind not in TABLES:
        return "sequence" if relation.kind == "S" else "view"
    if edge.used[0] != PG_CLASS:
        return "table"
    return "partition" if relation.partition else "inherits"


def _sequence(source: Source, edge: Edge) -> Relation | None:
    relation = source.relations.get(edge.via[1]) if edge.via[0] == PG_CLASS else None
    return relation if relation and relation.kind == "S" else None


def _label(source: Source, key: Key) -> str:
    if key[0] == PG_CLASS and key[1] in source.relations:
        return source.relations[key[1]].identity
    if other := source.others.get(key):
        return f"the {other.kind.lower()} {other.identity}"
    if key in source.extensions:
        return f"the extension {source.extensions[key]}"
    return source.graph.strange[key].name


def _crossing(fates: Fates, kind: str, name: str, met: _Met) -> Problem:
    source = fates.source
    used = ", ".join(sorted({_label(source, edge.via) for edge in met.edges}))
    what = _WORDS.get(kind) or "the " + kind.replace("_", " ")
    what = f"{what} {name}"
    sides = ("stays", "moves") if met.back else ("moves", "stays")
    if not met.back and all(edge.used in fates.moves for edge in met.edges):
        message = f"{what} needs {used}, which the target does not get"
    elif met.back and met.edges[0].user in fates.copied:
        message = f"{what}, which the source keeps, needs {used}, which moves"
    else:
        message = f"{what}, which {sides[0]}, needs {used}, which {sides[1]}"
    becomes, allowable = (_back if met.back else _out)(fates, kind, met.edges)
    remedy = f"Drop it, or agree: {becomes}." if allowable else f"{becomes}."
    return Problem(f"{kind}:{name}", message, remedy, allowable)


def _back(fates: Fates, kind: str, edges: list[Edge]) -> tuple[str, bool]:
    kept = sorted({_label(fates.source, e.used) for e in edges if e.used in fates.kept})
    moved = [edge for edge in edges if edge.used in fates.moves]
    words = []
    if kept:
        copy = "the target gets a copy"
        if all(edge.used in fates.absent for edge in edges if edge.used in fates.kept):
            copy = "the target does not get it"
        words.append(f"the source keeps {', '.join(kept)}, and {copy}")
    if any(not edge.soft for edge in moved):
        goes_on = _BACK.get(kind, "it keeps using the quarantine")
        words.append(f"{goes_on}, and --drop-quarantine refuses meanwhile")
    if any(edge.soft for edge in moved):
        words.append("it fails or finds nothing when it runs: it looks up a name that is gone")
    return "; ".join(words), True


def _out(fates: Fates, kind: str, edges: list[Edge]) -> tuple[str, bool]:
    source = fates.source
    hard = [edge for edge in edges if not edge.soft]
    sequences = [_sequence(source, edge) for edge in edges]
    if kind == "default" and all(sequences):
        return "the target gets a sequence of its own", True
    if not hard:
        return "it fails or finds nothing when it runs in the target", True
    if kind in APART or any(whole(source, edge) for edge in hard):
        return "the target does not get it", True
    if own := _own_sequence(source, kind, hard):
        return own, False
    used = sorted({edge.used[1] for edge in hard if edge.used[0] == PG_CLASS})
    labels = [source.relations[oid].identity for oid in used if oid in source.relations]
    more = " ".join(f"--with {label}" for label in labels)
    mend = _MEND.get(kind, "Drop it")
    return f"{mend}{f', or add {more}' if more else ''}", False


def _own_sequence(source: Source, kind: str, edges: list[Edge]) -> str | None:
    """SQL that gives a column its own sequence in place of a quarantined one."""
    edge, *more = edges
    strange = source.graph.strange.get(edge.via)
    if kind != "default" or more or edge.part is None or strange is None:
        return None
    if not strange.name.startswith("sequence "):
        return None
    table, column = source.relations[edge.user[1]], edge.part.name
    own = f"{quoted(table.schema)}.{quoted(f'{table.name[:20]}_{edge.part.plain[:20]}_own')}"
    old = strange.name.removeprefix("sequence ")
    new, last = (f"'{name.replace(chr(39), chr(39) * 2)}'" for name in (own, old))
    return (
        f"Give it a sequence of its own: CREATE SEQUENCE {own}; "
        f"ALTER SEQUENCE {own} OWNER TO {quoted(table.owner)}; "
        f"ALTER SEQUENCE {own} OWNED BY {table.identity}.{column}; "
        f"SELECT setval({new}, nextval({last})); "
        f"ALTER TABLE {table.identity} ALTER {column} SET DEFAULT nextval({new})"
    )


def _copied(fates: Fates) -> Iterator[Problem]:
    """Problems of copies that the target gets, and that need an object that stays."""
    source = fates.source
    met: dict[Key, set[str]] = defaultdict(set)
    for edge in source.graph.edges:
        copy = edge.user in source.others and edge.user in fates.copied
        if copy and edge.used in fates.absent and edge.user not in fates.absent:
            met[edge.user].add(_label(source, edge.via))
    for key, labels in met.items():
        each = source.others[key]
        yield Problem(
            _name_of(each),
            f"{_label(source, key)}, of which the target gets a copy, needs "
            f"{', '.join(sorted(labels))}, which stays",
            "Let what moves do without it, or agree: the copy fails or finds nothing when it runs.",
        )


def _composed(fates: Fates, prefixes: Mapping[str, bool]) -> Iterator[Problem]:
    """Problems of functions that build names, which a prefix that stands alone shows."""
    for key, each in fates.source.others.items():
        words = {word for word in _LAST.findall(uncommented(each.body)) if word in prefixes}
        moves = key in fates.moves
        ours = sorted(word for word in words if prefixes[word])
        theirs = sorted(word for word in words if not prefixes[word])
        found = theirs if moves else ours
        if not found:
            continue
        gone = "stay" if moves else "move"
        stays = "moves" if moves else "the source keeps" if key in fates.copied else "stays"
        yield Problem(
            _name_of(each),
            f"{_label(fates.source, key)}, which {stays}, composes names that begin with "
            f"{', '.join(found)}, and such objects {gone}",
            "Change it, or agree: it fails or finds nothing when it looks up a name that "
            f"{'the target does not have' if moves else 'is gone'}.",
        )


def _name_of(each: Other) -> str:
    return f"{each.kind.lower().replace(' ', '_')}:{each.identity}"


def _published(fates: Fates) -> Iterator[Problem]:
    relations = sorted(fates.source.relations.values(), key=lambda each: each.identity)
    moving = [each for each in relations if each.key in fates.moves]
    for each in fates.source.publications:
        if tables := publishes(each, moving):
            gets = "the target gets one of its own"
            if each.key in fates.absent:
                gets = "the target gets none"
            shown = ", ".join(table.identity for table in tables[:10])
            mend = "Agree"
            if {table.oid for table in tables} <= {*each.tables.values()} and not each.schemas:
                names = ", ".join(table.identity for table in tables)
                mend = f"Run ALTER PUBLICATION {each.identity} DROP TABLE {names}, or agree"
            yield Problem(
                f"publication:{each.identity}",
                f"the publication {each.identity} publishes {shown}, which moves",
                f"{mend}: its subscribers get no more changes of what moves, and {gets}.",
            )


def publishes(publication: Publication, moving: list[Relation]) -> list[Relation]:
    """The tables of ``moving`` that it publishes: by name, by schema, or with all others."""
    named, schemas = {*publication.tables.values()}, {*publication.schemas.values()}
    return [
        each
        for each in moving
        if each.kind in "rp"
        and (publication.everything or each.oid in named or each.schema in schemas)
    ]


def _subscribed(fates: Fates) -> Iterator[Problem]:
    for each in fates.source.subscriptions:
        tables = [
            fates.source.relations[oid].identity
            for oid in sorted(each.tables)
            if (PG_CLASS, oid) in fates.moves
        ]
        if tables:
            yield final(
                f"subscription:{each.identity}",
                f"the subscription {each.identity} fills {', '.join(tables[:10])}, which moves: "
                "its worker would fail, for all its tables",
                "Remove these tables from the publication, and run ALTER SUBSCRIPTION "
                f"{each.identity} REFRESH PUBLICATION, or DROP SUBSCRIPTION {each.identity}.",
            )


def _unknown(fates: Fates) -> Iterator[Problem]:
    """Problems of objects of unknown kinds beside an object that moves or is a copy."""
    source = fates.source
    met: dict[Key, set[str]] = defaultdict(set)
    goes = fates.moves | fates.copied
    for edge in source.graph.edges:
        for one, another in ((edge.user, edge.used), (edge.used, edge.user)):
            strange = source.graph.strange.get(one)
            if strange and not strange.known and another in goes:
                met[one].add(_label(source, another))
    for key, labels in met.items():
        name = source.graph.strange[key].name
        shown = ", ".join(sorted(labels)[:10])
        yield final(
            f"unknown:{name}",
            f"{name}, which belongs to {shown}, is of a kind that a transfer does not know",
            "Drop it, and recreate it by hand in the target.",
        )
