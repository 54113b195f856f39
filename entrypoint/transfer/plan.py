"""What a transfer moves, what it takes along, and what stays, as a value. Pure."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from ..config.registry import Service, claimant
from . import crossing, fates
from .crossing import Left
from .fates import Claim
from .obstacle import Problem
from .source import (
    PG_CLASS,
    PG_EXTENSION,
    PG_PROC,
    Key,
    Other,
    Publication,
    Relation,
    Source,
    Subject,
)

BYTES_PER_S: Final = 28e6  # measured: dump, restore, comparison of 178 MB and indexes on two cores


class Plan(NamedTuple):
    """A transfer of one service's objects."""

    service: Service
    source: Source
    moving: Mapping[int, str]  # the relations that move, by OID, with the reason
    own: tuple[Other, ...]  # the types, functions and the like that move
    left_out: frozenset[Key]  # the types, functions and the like that the target does not get
    crossing: tuple[Problem, ...]
    left: Mapping[Key, Left]  # parts that the target does not get, by their entries in a dump
    shared: frozenset[int]  # sequences that stay, and that the target gets a copy of
    broken: frozenset[int]  # views that move, and that the target does not get
    unpublished: tuple[Publication, ...]  # those that stay: other services', or of tables that stay
    extensions: tuple[str, ...]  # extensions that the target needs, or that the operator named

    @property
    def relations(self) -> list[Relation]:
        """The relations that move, in a stable order."""
        found = (self.source.relations[oid] for oid in self.moving)
        return sorted(found, key=lambda each: (each.schema, each.name))

    @property
    def restored(self) -> list[Relation]:
        """The relations that move and that the target gets, in the same order."""
        return [each for each in self.relations if each.oid not in self.broken]

    @property
    def staying(self) -> list[Relation]:
        """The relations that stay."""
        return [each for each in self.source.relations.values() if each.oid not in self.moving]

    @property
    def not_copied(self) -> list[Relation]:
        """The relations that stay, except shared sequences and those of extensions."""
        return [each for each in self.staying if not each.extension and each.oid not in self.shared]

    @property
    def unread(self) -> list[Relation]:
        """Tables of extensions that the target does not get, and whose rows a dump would have."""
        return [
            each
            for each in self.staying
            if each.extension
            and self.source.extensions.get((PG_EXTENSION, each.extension)) not in self.extensions
        ]

    def sized(self, sizes: Mapping[int, int]) -> "Plan":
        """The same plan with the sizes of its relations."""
        relations = dict(self.source.relations)
        for oid, size in sizes.items():
            relations[oid] = relations[oid]._replace(size_bytes=size)
        return self._replace(source=self.source._replace(relations=relations))

    @property
    def size_bytes(self) -> int:
        """The size of everything that moves, with indexes."""
        return sum(each.size_bytes for each in self.relations)

    @property
    def estimate_s(self) -> float:
        """The seconds that the move takes, roughly."""
        return round(1 + self.size_bytes / BYTES_PER_S, 1)

    @property
    def carried(self) -> list[Other]:
        """The types, functions and the like that the target gets."""
        return [each for key, each in self.source.others.items() if key not in self.left_out]

    def used_functions(self) -> list[int]:
        """The OIDs of functions that an evaluation of what moves may call."""
        uses: dict[Key, list[Key]] = defaultdict(list)
        for edge in self.source.graph.edges:
            if not edge.soft:
                uses[edge.user].append(edge.used)
        found: set[Key] = set()
        waiting = [(PG_CLASS, oid) for oid in self.moving]
        while waiting:
            more = {key for key in uses[waiting.pop()] if key in self.source.others} - found
            found |= more
            waiting += more
        return [oid for catalog, oid in found if catalog == PG_PROC]

    def unrestorable(self) -> dict[Key, Subject]:
        """What a restore leaves out of a dump, and how the dump's comments name it."""
        gone = {each.key: each.subject() for each in self.unread}
        gone |= {key: part.subject() for key, part in self.left.items()}
        gone |= {key: self.source.others[key].subject() for key in self.left_out}
        for key, name in self.source.extensions.items():
            if name not in self.extensions:
                gone[key] = Subject("-", "EXTENSION", name)
        gone |= {key: subject for each, key, subject in self.source.granted if each in gone}
        for each in self.source.publications:
            table = Subject("-", "PUBLICATION TABLE", each.name)
            gone |= {key: table for key, oid in each.tables.items() if oid not in self.moving}
            if each in self.unpublished:
                subject = Subject("-", "PUBLICATION", each.name)
                gone |= dict.fromkeys((each.key, *each.schemas), subject)
        for view in self.broken:
            gone[PG_CLASS, view] = self.source.relations[view].subject()
        return gone | {key: gone[unit] for unit, key in self.source.parts if unit in gone}


def make(
    source: Source, service: Service, registry: Mapping[str, Service], extra: Collection[str] = ()
) -> Plan:
    """Decide what moves.

    A relation moves by its literal prefix in any schema, by its name in ``extra``, or as a child of
    one that moves. A longer prefix of another service wins.
    """

    def claim(name: str) -> bool | None:
        owner = claimant(name, registry)
        return None if owner is None else owner == service

    moving = _moving(source, claim, {*extra})
    unpublished = tuple(
        each
        for each in source.publications
        if moving.keys().isdisjoint(each.tables.values())
        and (each.tables or claimant(each.name, registry) not in (None, service))
    )
    asked = [key for key, name in source.extensions.items() if name in extra]
    found = fates.decide(source, moving, [each.key for each in unpublished], claim, asked)
    for relation in source.relations.values():
        if relation.key in found.moves and relation.oid not in moving:
            moving[relation.oid] = "used by nothing else"
    prefixes = {
        prefix: each == service
        for each in registry.values()
        for prefix in each.prefixes
        if prefix.endswith("_")
    }
    others = source.others
    return Plan(
        service,
        source,
        moving,
        tuple(each for key, each in others.items() if key in found.moves),
        frozenset(found.absent & others.keys()),
        *crossing.find(found, prefixes),
        frozenset(oid for catalog, oid in found.moves & found.absent if catalog == PG_CLASS),
        unpublished,
        tuple(sorted(source.extensions[key] for key in found.extensions)),
    )


def _moving(source: Source, claim: Claim, extra: Collection[str]) -> dict[int, str]:
    moving: dict[int, str] = {}
    for relation in source.relations.values():
        if relation.extension or relation.owner_table is not None:
            continue
        if claim(relation.name):
            moving[relation.oid] = "prefix"
        elif not relation.names().isdisjoint(extra):
            moving[relation.oid] = "asked for"
    while more := {
        relation.oid: f"child of {source.relations[parent].label()}"
        for relation in source.relations.values()
        for parent in relation.parents
        if parent in moving and relation.oid not in moving
    }:
        moving |= more
    for relation in source.relations.values():
        if relation.owner_table in moving and relation.owner_table is not None:
            moving[relation.oid] = f"of {source.relations[relation.owner_table].label()}"
    return moving
