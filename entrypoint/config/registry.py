"""The service registry: which database and which tables belong to which service."""

import os
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from .. import files

SHIPPED: Final = os.path.join(os.path.dirname(__file__), "services.toml")
SEEDS: Final = ("tenant", "always", "never")
MAX_BYTES: Final = 1 << 20
MAX_SHOWN: Final = 100  # characters of an unregistered name that people see and `misspelt` compares
KEYS: Final = {  # the keys of a row, and what an omitted key means: docs/reference/settings.md
    "database": ("The service's database, on the server that its URL names.", "required"),
    "prefixes": (
        "How the names of its tables begin, literally, in any schema.",
        "none: in its own database every name is the service's, except with another's prefix",
    ),
    "names": (
        "Its objects without a prefix, such as `outbox` or `audit.log`, in its own database only.",
        "none",
    ),
    "seed": (
        "When its seed runs, if `seed.when` is not set: `tenant`, `always`, `never`.",
        "`tenant`",
    ),
    "owner": ("The role that must own the database.", "none: any role may"),
}

DEFAULTS: Final = ("postgres", "template0", "template1")  # the server's own, of no service
MAX_NAME_BYTES: Final = 63  # PostgreSQL cuts longer names


class Service(NamedTuple):
    """One row; ``prefixes`` are literal beginnings of table names (``_`` is no wildcard)."""

    name: str
    database: str
    prefixes: tuple[str, ...]
    seed: str
    owner: str | None = None  # the role that must own the database, if the registry names one
    names: tuple[str, ...] = ()
    """The service's objects without a prefix, with or without a schema, in its own database.

    Several services may have an ``outbox``, so the name does not identify its service elsewhere.
    """

    def beginnings(self) -> tuple[str, ...]:
        """What the names of its tables may begin with; empty if any name will do."""
        bare = (name.rpartition(".")[2] for name in self.names)
        return (*self.prefixes, *bare) if self.prefixes else ()

    def lists(self, *names: str) -> bool:
        """Whether ``names`` of the row has an object's name, bare or qualified."""
        return not {*names}.isdisjoint(self.names)


class RegistryError(Exception):
    """The registry file is unusable; ``problems`` lists why, without the file's name."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def load(path: files.StrPath = SHIPPED) -> Mapping[str, Service]:
    """Read a registry file. Raises `RegistryError` with all problems, I/O errors included."""
    try:
        rows = files.toml(files.read(path, MAX_BYTES))
    except OSError as error:
        raise RegistryError([error.strerror or "cannot be read"]) from None
    except ValueError as error:
        raise RegistryError([str(error)]) from None
    problems: list[str] = []
    registry = {name: _service(name, row, problems) for name, row in rows.items()}
    problems += _clashes(registry)
    if not rows:
        problems.append("has no service in it")
    if problems:
        raise RegistryError(problems)
    return registry


def _service(name: str, row: Any, problems: list[str]) -> Service:  # noqa: ANN401  from a file
    if not isinstance(row, dict):
        problems.append(f"{name}: is not a table")
        return Service(name, "", (), "tenant")
    problems += [
        f"{name}: unknown key {key!r}; the nearest is {_nearest(key)!r}"
        for key in sorted(row.keys() - {*KEYS})
    ]
    database, seed, owner = row.get("database"), row.get("seed", "tenant"), row.get("owner")
    if not isinstance(database, str) or not database:
        problems.append(f"{name}: database must be a name")
    elif database in DEFAULTS:
        problems.append(f"{name}: database {database!r} is the server's own, no service's")
    elif len(database.encode()) > MAX_NAME_BYTES:
        problems.append(f"{name}: database is longer than {MAX_NAME_BYTES} bytes")
    if seed not in SEEDS:
        problems.append(f"{name}: seed must be one of {', '.join(SEEDS)}")
    if owner is not None and (not isinstance(owner, str) or not owner):
        problems.append(f"{name}: owner must be a role's name")
        owner = None
    prefixes = _texts(name, row, "prefixes", problems)
    problems += [
        f"{name}: prefix {prefix!r} is literal, not a pattern: leave {prefix[-1]!r} out"
        for prefix in prefixes
        if prefix.endswith(("%", "*"))
    ]
    names = _texts(name, row, "names", problems)
    return Service(name, str(database or ""), prefixes, str(seed), owner, names)


def _texts(name: str, row: Mapping[str, Any], key: str, problems: list[str]) -> tuple[str, ...]:
    texts = row.get(key, [])
    if isinstance(texts, list) and all(isinstance(each, str) and each for each in texts):
        return tuple(texts)
    problems.append(f"{name}: {key} must be a list of strings")
    return ()


def _nearest(key: str) -> str:
    import difflib

    return difflib.get_close_matches(key[:MAX_SHOWN], KEYS, n=1, cutoff=0.0)[0]


def _clashes(registry: Mapping[str, Service]) -> list[str]:
    """Names that two rows claim. A prefix may begin with another prefix: the longest wins."""
    problems = []
    databases: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for service in registry.values():
        claims = [("database", service.database, databases)] if service.database else []
        claims += [("prefix", prefix, prefixes) for prefix in service.prefixes]
        for what, claim, by in claims:
            if (other := by.setdefault(claim, service.name)) != service.name:
                problems.append(f"{service.name}: {what} {claim!r} is also {other}'s")
    for service in registry.values():
        for name in service.names:
            owner = claimant(name.rpartition(".")[2], registry)
            if owner is not None and owner.name != service.name:
                problems.append(
                    f"{service.name}: the name {name!r} begins with a prefix of {owner.name}; "
                    "write it among the prefixes, of which the longest wins"
                )
    return problems


def claimant(name: str, registry: Mapping[str, Service]) -> Service | None:
    """The service with the longest prefix that begins an object's name; None without any."""
    claims = [
        (len(prefix), service)
        for service in registry.values()
        for prefix in service.prefixes
        if name.startswith(prefix)
    ]
    return max(claims, key=lambda claim: claim[0])[1] if claims else None


class Misfit(NamedTuple):
    """Why a service must not use a database; ``right`` is its own, if the registry knows it."""

    why: str
    right: str | None
    owner: str | None = None  # the other service that the database belongs to


def misfit(database: str, name: str | None, registry: Mapping[str, Service]) -> Misfit | None:
    """Why a service must not use a database; without a name it may use all but `DEFAULTS`."""
    row = registry.get(name or "")
    right = row.database if row else None
    if database in DEFAULTS:
        what = "the server's default" if database == "postgres" else "a template of the server"
        return Misfit(f"{database!r}, {what}, which must hold no application table", right)
    if name is None or database == right:
        return None
    owner = next((s.name for s in registry.values() if s.database == database), None)
    if owner is not None:
        who = name if row else repr(name[:MAX_SHOWN])  # a stranger's may be anything
        return Misfit(f"{database!r}, which belongs to {owner}, not to {who}", right, owner)
    if row is not None:
        return Misfit(f"{database[:MAX_SHOWN]!r}, but the registry gives {name} {right!r}", right)
    return None


def sharing(names: Collection[str], registry: Mapping[str, Service]) -> list[Service]:
    """The services that list one of these names, which identify no single service."""
    return [service for service in registry.values() if service.lists(*names)]


def misspelt(name: str, registry: Mapping[str, Service]) -> str | None:
    """The registered service that an unregistered name resembles, if any."""
    if name in registry:
        return None
    import difflib

    # Words that all names share do not count: gaqno-hr-service does not resemble gaqno-rpg-service.
    shared = set.intersection(*map(_words, registry)) if len(registry) > 1 else set()
    if not shared <= _words(name):
        shared = set()
    alike = 0.6 if shared else 0.8
    stems = {_stem(known, shared): known for known in registry}
    close = difflib.get_close_matches(_stem(name[:MAX_SHOWN], shared), stems, n=1, cutoff=alike)
    return stems[close[0]] if close else None


def namesake(name: str, registry: Mapping[str, Service]) -> str | None:
    """A guess: the only service of this name plus common words, as gaqno-finance-service."""
    words = [word for known in registry for word in _words(known)]
    common = {word for word in words if 2 * words.count(word) > len(registry)}
    own = _words(name[:MAX_SHOWN]) - common
    found = [known for known in registry if own and _words(known) - common == own]
    return found[0] if len(found) == 1 and name not in registry else None


def _words(name: str) -> set[str]:
    return set(re.split("[-_.]", name))


def _stem(name: str, shared: set[str]) -> str:
    return " ".join(word for word in re.split("[-_.]", name) if word not in shared)
