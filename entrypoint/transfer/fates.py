"""Decide whether each unit of the source moves, is copied, or stays. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from .source import MOVABLE, PG_CLASS, PG_TYPE, Edge, Key, Other, Relation, Source

Claim = Callable[[str], bool | None]  # whether the name is the service's; None if it is nobody's
TABLES: Final = "rpf"  # relations that a restore can make without some parts, but cannot leave out
_Edges = Mapping[Key, list[Edge]]


@dataclass
class Fates:
    """Where each unit is after the move; a unit in no set is the server's or an extension's."""

    source: Source
    moves: set[Key]  # in the quarantine and in the target
    copied: set[Key]  # on both sides
    stays: set[Key]  # in the source only
    kept: set[Key] = field(default_factory=set)  # the service's, on both sides for others
    absent: set[Key] = field(default_factory=set)  # `stays`, and what needs one of those
    extensions: set[Key] = field(default_factory=set)  # extensions that the target needs


def decide(
    source: Source, moving: Iterable[int], stays: Iterable[Key], claim: Claim, extra: Iterable[Key]
) -> Fates:
    """Give each unit its fate; ``stays`` are publications, ``extra`` the operator's extensions."""
    fates = Fates(source, {(PG_CLASS, oid) for oid in moving}, set(), {*stays})
    fates.stays |= {each.key for each in source.relations.values()} - fates.moves
    fates.copied |= {each.key for each in source.publications} - fates.stays
    chosen = _chosen(source)
    for key, other in source.others.items():
        ours = claim(other.plain) if other.plain else None
        if ours and (other.kind not in MOVABLE or other.identity in chosen):
            ours = None
        {True: fates.moves, False: fates.stays, None: fates.copied}[ours].add(key)
    fates.stays |= {key for key, each in source.graph.strange.items() if each.known} - fates.copied
    uses, users = defaultdict(list), defaultdict(list)
    for edge in source.graph.edges:
        uses[edge.user].append(edge)
        users[edge.used].append(edge)
    _adopt(fates, claim, uses, users)
    _keep(fates, uses, users)
    _miss(fates, users)
    _shun(fates, uses, users)
    _need(fates, uses, extra)
    fates.absent |= fates.stays
    return fates


def _chosen(source: Source) -> set[str]:
    """Text search configurations that the database's settings name, for every session."""
    values = {setting.partition("=")[2] for _, setting in source.settings}
    return {
        each.identity
        for each in source.others.values()
        if each.kind == "TEXT SEARCH CONFIGURATION"
        and not values.isdisjoint({each.identity, each.name, each.plain})
    }


def _adopt(fates: Fates, claim: Claim, uses: _Edges, users: _Edges) -> None:
    """Move unclaimed units that only moving units use, if the role may move them.

    They may need each other, as a type and its operators do. So suppose that all candidates move,
    and drop each one that a staying unit uses, until nothing changes. An operator or a cast that
    concerns no moving type, only the server's own, may be anybody's.
    """
    source = fates.source
    units: list[Relation | Other] = [*source.others.values(), *source.relations.values()]
    found = {
        each.key: each
        for each in units
        if each.key not in fates.moves
        and (source.superuser or each.owner in ("", source.role))
        and _may_follow(each, users.get(each.key, ()), source)
        and (
            not (name := each.plain if isinstance(each, Other) else each.name)
            or claim(name) is None
        )
    }
    size = -1
    while size != len(found):
        size = len(found)
        for key in [*found]:
            shared = any(
                edge.user not in fates.moves and edge.user not in found
                for edge in users.get(key, ())
            )
            of_others = any(edge.used in fates.stays for edge in uses.get(key, ()))
            of_ours = any(
                edge.used[0] in (PG_CLASS, PG_TYPE)
                and (edge.used in fates.moves or edge.used in found)
                for edge in uses.get(key, ())
            )
            if shared or (_is_of(found[key]) and (of_others or not of_ours)):
                del found[key]
        if size == len(found):
            led = _led(fates.moves, found, uses, users)
            found = {key: each for key, each in found.items() if key in led}
    fates.moves |= found.keys()
    fates.copied -= found.keys()
    fates.stays -= found.keys()


def _led(
    moves: set[Key], found: Mapping[Key, Relation | Other], uses: _Edges, users: _Edges
) -> set[Key]:
    """Candidates that a moving unit leads to: it uses them, or they are its operators and casts."""
    led: set[Key] = set()
    waiting = [*moves]
    while waiting:
        key = waiting.pop()
        near = {edge.used for edge in uses.get(key, ()) if not edge.soft}
        if key[0] in (PG_CLASS, PG_TYPE):
            near |= {
                e.user for e in users.get(key, ()) if e.user in found and _is_of(found[e.user])
            }
        waiting += (near & found.keys()) - led
        led |= near & found.keys()
    return led


def _is_of(each: Relation | Other | None) -> bool:
    """Whether the unit has no name of its own, and exists for its types."""
    return isinstance(each, Other) and each.kind in ("CAST", "OPERATOR")


def _may_follow(each: Relation | Other, users: Iterable[Edge], source: Source) -> bool:
    if isinstance(each, Relation):
        return each.kind == "S" and each.owner_table is None and not each.extension
    if each.kind == "FUNCTION" and not each.trigger:
        units = (source.others.get(edge.user) for edge in users if not edge.soft)
        return any(unit is not None and _is_of(unit) for unit in units)
    return each.kind in ("TYPE", "DOMAIN", "FUNCTION") or _is_of(each)


def _keep(fates: Fates, uses: _Edges, users: _Edges) -> None:
    """Copy what staying units need instead of moving it, unless it is a relation.

    A type stays with its operators and casts, because its users may use those.
    """
    others = fates.source.others
    waiting = [key for key in uses if key not in fates.moves]
    while waiting:
        key = waiting.pop()
        found = {edge.used for edge in uses.get(key, ()) if edge.used[0] != PG_CLASS}
        if key in fates.kept:
            found |= {e.user for e in users.get(key, ()) if _is_of(others.get(e.user))}
        for each in found & fates.moves:
            fates.moves.remove(each)
            fates.copied.add(each)
            fates.kept.add(each)
            waiting.append(each)


def _miss(fates: Fates, users: _Edges) -> None:
    """Leave out of the target what cannot exist without a unit that stays."""
    source = fates.source
    waiting = [key for key in fates.stays if key not in source.others]
    missing = {*waiting}
    while waiting:
        for edge in users.get(waiting.pop(), ()):
            if edge.user not in missing and whole(source, edge):
                missing.add(edge.user)
                waiting.append(edge.user)
    fates.absent |= missing
    fates.stays |= missing & fates.copied
    fates.copied -= missing


def whole(source: Source, edge: Edge) -> bool:
    """Whether the user itself, not a part, needs ``used``, and a restore can leave the user out."""
    if edge.soft or edge.part is not None:
        return False
    relation = source.relations.get(edge.user[1]) if edge.user[0] == PG_CLASS else None
    return relation is None or relation.kind not in TABLES


def _shun(fates: Fates, uses: _Edges, users: _Edges) -> None:
    """Keep an unclaimed unit, such as an operator, with the other service's unit that it needs.

    The same holds for a unit, such as a function, that only names such a unit in a text, unless a
    moving unit needs it. Then the target gets a copy, which may fail.
    """
    others = fates.source.others
    needed = _reached(fates, uses)
    waiting = [*fates.stays]
    while waiting:
        for edge in users.get(waiting.pop(), ()):
            if edge.user not in fates.copied or edge.user not in others or edge.user in fates.kept:
                continue
            if edge.soft and edge.user in needed:
                continue
            fates.copied.remove(edge.user)
            fates.stays.add(edge.user)
            waiting.append(edge.user)


def _reached(fates: Fates, uses: _Edges) -> set[Key]:
    """Everything but relations that moving units need, in any way."""
    found: set[Key] = set()
    waiting = [*fates.moves]
    while waiting:
        more = {edge.used for edge in uses.get(waiting.pop(), ()) if edge.used[0] != PG_CLASS}
        waiting += more - found
        found |= more
    return found


def _need(fates: Fates, uses: _Edges, extra: Iterable[Key]) -> None:
    """Take to the target what its units need: others' types and functions, and extensions."""
    source = fates.source
    fates.extensions |= {*extra}
    waiting = [*((fates.moves | fates.copied) - fates.absent), *extra]
    while waiting:
        for edge in uses.get(waiting.pop(), ()):
            used = edge.used
            if used in source.extensions and used not in fates.extensions:
                fates.extensions.add(used)
            elif used in fates.stays and used in source.others and used not in fates.absent:
                fates.stays.remove(used)
                fates.copied.add(used)
            else:
                continue
            waiting.append(used)
