"""Which objects are where they do not belong; pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..services import Service, claimant
from .objects import Object

DEFAULT: str = "postgres"
"""The database that must hold no application's object."""


class Stray(NamedTuple):
    """An object in a database that is not, or may not be, the right one."""

    object: Object
    service: Service | None
    """Whose it is by its prefix."""

    database: str
    misplaced: bool
    """False where nothing says whose it is, so that it may well be its database's own."""

    def message(self) -> str:
        """What is wrong, in a sentence without its end."""
        whose = f"{self.service.name}'s" if self.service else "claimed by no service's prefix"
        what = f"the {self.object.kind} {self.object.label()!r} in {self.database!r} is {whose}"
        if self.database == DEFAULT:
            return f"{what}; that database must hold no application's object"
        return what

    def remedy(self) -> str:
        """What to do about it, an imperative sentence."""
        if self.service and self.database == DEFAULT:
            return f"Run entrypoint transfer {self.service.name}."
        if self.service:
            return f"Move it to {self.service.database!r}, or drop it."
        if self.database == DEFAULT:
            return "Move it to the database of whoever uses it, or drop it."
        return "Rename it, or add its prefix to the service's row of the registry."


def in_default(objects: Iterable[Object], registry: Mapping[str, Service]) -> list[Stray]:
    """Strays in the default database: every application's object is one."""
    return [Stray(each, claimant(each.name, registry), DEFAULT, True) for each in objects]  # noqa: FBT003  a field


def in_own(
    objects: Iterable[Object], database: str, own: Service | None, registry: Mapping[str, Service]
) -> list[Stray]:
    """Strays in a service's database; nothing is known of a service that nobody registered."""
    strays = []
    for each in objects if own else ():
        service = claimant(each.name, registry)
        if service is None and own and own.prefixes:
            strays.append(Stray(each, None, database, misplaced=False))
        elif service not in (None, own):
            strays.append(Stray(each, service, database, misplaced=True))
    return strays
