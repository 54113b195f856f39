"""What a transfer moves, what it takes along, and what stays; a value that can be shown. Pure."""

import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from ...services import Service, claimant
from .archive import PG_CLASS
from .source import Edge, Key, Other, Publication, Relation, Source

BYTES_PER_S: Final = 28e6
"""What 178 MB with indexes took on two cores, dump, restore and comparison together."""


class Plan(NamedTuple):
    """A transfer of one service's objects."""

    service: Service
    source: Source
    moving: Mapping[int, str]
    """Relations that move, by OID, and why."""

    own: tuple[Other, ...]
    """Types and functions of the service, by prefix: they move too."""

    left_out: frozenset[Key]
    """Types and functions of other services that nothing here needs; they stay."""

    crossing: tuple[Edge, ...]
    """Foreign keys, views and defaults between what moves and what stays."""

    unpublished: tuple[Publication, ...]
    """Publications of other services, or of nothing that moves; they stay."""

    @property
    def relations(self) -> list[Relation]:
        """What moves, in a stable order."""
        found = (self.source.relations[oid] for oid in self.moving)
        return sorted(found, key=lambda each: (each.schema, each.name))

    @property
    def staying(self) -> list[Relation]:
        """What stays."""
        return [each for each in self.source.relations.values() if each.oid not in self.moving]

    @property
    def not_copied(self) -> list[Relation]:
        """What of it the target does not get: a shared sequence it gets, an extension's it has."""
        shared = {edge.used for edge in self.crossing if edge.kind == "sequence"}
        return [each for each in self.staying if not each.extension and each.oid not in shared]

    @property
    def size_bytes(self) -> int:
        """Of everything that moves, with indexes."""
        return sum(each.size_bytes for each in self.relations)

    @property
    def estimate_s(self) -> float:
        """Seconds that it will take, roughly."""
        return round(1 + self.size_bytes / BYTES_PER_S, 1)

    @property
    def carried(self) -> list[Other]:
        """Types and functions that the target gets."""
        return [each for key, each in self.source.others.items() if key not in self.left_out]

    def unrestorable(self) -> dict[Key, tuple[str, str]]:
        """What of a dump is not restored, with schema and name: it would need what stays."""
        relations, others = self.source.relations, self.source.others
        gone = {key: (others[key].schema, others[key].name) for key in self.left_out}
        for each in self.source.publications:
            for key, oid in each.tables.items():
                if oid not in self.moving and (table := relations.get(oid)):
                    gone[key] = (table.schema, f"{each.name} {table.name}")
            if each in self.unpublished:
                gone |= dict.fromkeys([each.key, *each.schemas], ("-", each.name))
        for edge in self.crossing:
            if edge.kind == "fk" and edge.user in self.moving:
                gone[edge.key] = (relations[edge.user].schema, edge.name)
        for view in self.broken_views():
            name = (relations[view].schema, relations[view].name)
            gone[PG_CLASS, view] = name
            gone |= {key: name for relation, key in self.source.parts if relation == view}
        return gone

    def broken_views(self) -> set[int]:
        """Moving views that need something that stays, also through another such view."""
        broken: set[int] = set()
        while more := {
            edge.user
            for edge in self.source.edges
            if edge.kind == "view" and edge.user in self.moving and edge.user not in broken
            if edge.used not in self.moving or edge.used in broken
        }:
            broken |= more
        return broken


def make(
    source: Source, service: Service, registry: Mapping[str, Service], extra: Collection[str] = ()
) -> Plan:
    """Decide what moves: by literal prefix in any schema, by name in ``extra``, and their children.

    A name that another service claims by a longer prefix is that service's.
    """
    moving: dict[int, str] = {}
    for relation in source.relations.values():
        if relation.extension or relation.owner_table is not None:
            continue
        if claimant(relation.name, registry) == service:
            moving[relation.oid] = "prefix"
        elif {relation.name, f"{relation.schema}.{relation.name}"} & {*extra}:
            moving[relation.oid] = "asked for"
    _add_children(source, moving)
    for relation in source.relations.values():
        if relation.owner_table in moving and relation.owner_table is not None:
            moving[relation.oid] = f"of {source.relations[relation.owner_table].label()}"
    own = tuple(
        other for other in source.others.values() if claimant(other.name, registry) == service
    )
    crossing = tuple(
        edge for edge in source.edges if (edge.user in moving) != (edge.used in moving)
    )
    left_out = _left_out(source, service, registry, set(moving))
    unpublished = tuple(
        each
        for each in source.publications
        if moving.keys().isdisjoint(each.tables.values())
        and (each.tables or claimant(each.name, registry) not in (None, service))
    )
    return Plan(service, source, moving, own, left_out, crossing, unpublished)


def _add_children(source: Source, moving: dict[int, str]) -> None:
    while more := {
        relation.oid: f"child of {source.relations[parent].label()}"
        for relation in source.relations.values()
        for parent in relation.parents
        if parent in moving and relation.oid not in moving
    }:
        moving |= more


def _left_out(
    source: Source, service: Service, registry: Mapping[str, Service], moving: set[int]
) -> frozenset[Key]:
    """Others' types and functions, unless something that goes along needs them.

    The catalogs do not know what a function's body calls, so a name in a body counts as a need.
    Functions of one name stay together, because a dump's comments do not tell them apart.
    """
    names = {
        (source.others[key].schema, source.others[key].name)
        for key in source.used_by(moving)
        if key in source.others
    }
    needed = {key for key, other in source.others.items() if (other.schema, other.name) in names}
    foreign = {
        key
        for key, other in source.others.items()
        if claimant(other.name, registry) not in (None, service)
    }
    left = foreign - needed
    impossible = _impossible(source, moving)
    while True:
        # What is there for all, such as an operator, needs its function whosever it is.
        if wanted := {used for user, used in source.links if user not in left} & left:
            left -= wanted
            continue
        kept = [other.body for key, other in source.others.items() if key not in left]
        words = {word for body in kept for word in re.findall(r"\w+", body)}
        wanted = {key for key in left if source.others[key].name in words}
        if not wanted:
            return frozenset(left | (impossible & source.others.keys()))
        left -= wanted


def _impossible(source: Source, moving: set[int]) -> set[Key]:
    """What takes or returns rows of a relation that stays, also through others."""
    stays = {(PG_CLASS, oid) for oid in source.relations if oid not in moving}
    found: set[Key] = set()
    while more := {user for user, used in source.links if used in stays | found} - found:
        found |= more
    return found
