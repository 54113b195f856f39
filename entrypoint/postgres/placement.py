"""Which objects are in the wrong database. Pure."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ..config import registry as services
from ..config.registry import Service, claimant
from .objects import Object

DEFAULT: str = "postgres"  # the database that must contain no application's object
FOLLOW: Final = frozenset({"type", "sequence", "function", "procedure", "aggregate"})
"""Kinds of objects that belong to the service that uses them, whatever their names."""


class Stray(NamedTuple):
    """An object in a database that is, or may be, the wrong one."""

    object: Object
    service: Service | None  # the service whose prefix it has, or whose objects use it
    database: str
    misplaced: bool  # false if its service is unknown, so that it may belong to its database
    own: Service | None = None  # the service that the database belongs to
    sharing: tuple[Service, ...] = ()  # services that list this name for their own databases
    follows: bool = False  # whether only its users, all of one service, say whose it is

    def message(self) -> str:
        """Say what is wrong, in a sentence without its full stop."""
        what = f"the {self.object.kind} {self.object.label()!r} in {self.database!r} is "
        if self.service is None:
            what += "without any service's prefix"
        else:
            what += f"{self.service.name}'s{', whose objects use it' if self.follows else ''}"
        if self.sharing:
            named = " and ".join(service.name for service in self.sharing)
            what += f", and its name does not say whose it is: the registry has it for {named}"
        if self.database == DEFAULT:
            return f"{what}; that database must contain no application's object"
        return what

    def remedy(self) -> str:
        """Say what to do, in the imperative; the action harms no user of the object."""
        copied = self.follows and self.object.arguments is not None  # trigger functions aside
        if self.service and self.database == DEFAULT and copied:
            return (
                f"Run entrypoint transfer {self.service.name}, which copies it; drop this one when "
                "you drop the quarantine."
            )
        if self.service and self.database == DEFAULT:
            return f"Run entrypoint transfer {self.service.name}."
        if self.service:
            return f"Move it to {self.service.database!r}, or drop it."
        if self.own:
            return (
                f"If it is {self.own.name}'s, add {self.object.name!r} to the names of its row in "
                "the registry, or a prefix; if not, find out which service uses it before you drop "
                "it."
            )
        if self.sharing and self.object.kind not in FOLLOW:
            named = " or ".join(service.name for service in self.sharing)
            return (
                "Find out which service it belongs to, and run entrypoint transfer SERVICE --with "
                f"{shlex.quote(self.object.label())}, where SERVICE is {named}."
            )
        return "Move it to the database of the service that uses it, or drop it."


def in_default(objects: Iterable[Object], registry: Mapping[str, Service]) -> list[Stray]:
    """Find strays in the default database: every application's object is one.

    A name that services share does not tell the object's service; the object's users may.
    """
    strays = []
    for each in objects:
        service, user = claimant(each.name, registry), _user(each, registry)
        sharing = () if service or user else tuple(services.sharing(each.names(), registry))
        stray = Stray(each, service or user, DEFAULT, misplaced=True, sharing=sharing)
        strays.append(stray._replace(follows=service is None and user is not None))
    return strays


def _user(each: Object, registry: Mapping[str, Service]) -> Service | None:
    """The only service whose objects use this one."""
    users = {claimant(name, registry) for name in each.used_by} if each.kind in FOLLOW else set()
    return users.pop() if len(users) == 1 else None


def in_own(
    objects: Iterable[Object], database: str, own: Service | None, registry: Mapping[str, Service]
) -> list[Stray]:
    """Find strays in a service's database; none if nobody registered the service.

    A type, a sequence or a function that the service's objects use is the service's own, too.
    """
    if own is None:
        return []

    def is_own(*names: str) -> bool:
        service = claimant(names[0], registry)
        return service == own or (service is None and (not own.prefixes or own.lists(*names)))

    strays = []
    for each in objects:
        used = each.kind in FOLLOW and any(map(is_own, each.used_by))
        if used or is_own(*each.names()):
            continue
        service = claimant(each.name, registry)
        sharing = () if service else tuple(services.sharing(each.names(), registry))
        strays.append(Stray(each, service, database, service is not None, own, sharing))
    return strays
