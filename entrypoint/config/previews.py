"""Previews: containers of a pull request, each of which gets a database of its own.

docs/how-to/previews.md says what the platforms set, with its source.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from .. import log
from . import dialects
from .conninfo import MAX_NAME_BYTES, Conninfo
from .keys import NONE, NUMBER, OUR_SECRETS, PREVIEWS, bare
from .reader import Sources
from .registry import DEFAULTS, Service
from .settings import Incomplete

INFIX: Final = "_pr_"  # between the name of the service's database and the preview
_VARIABLE: Final = "ENTRYPOINT_PREVIEW"
_ID = re.compile(rf"{NUMBER}|[a-z0-9]{{6}}")  # a pull request's number, or Dokploy's characters
_HASH: Final = 8  # characters
_LONGEST: Final = MAX_NAME_BYTES - len("_preview")

_CONTAINER = re.compile(rf".*-pr-({NUMBER})")
_BRANCH = re.compile(rf"(?:pull|merge-requests)/({NUMBER})/head")
_HOST = re.compile(r"preview-.+-([a-z0-9]{6})(?:(?:-\d{1,3}){4})?")  # an address is sslip.io's

Urls = dict[str, tuple[str, Conninfo | None]]
"""Connection strings by their variables, as written and as parsed."""


class Preview(NamedTuple):
    """The preview that a container belongs to."""

    id: str  # the pull request's number, or what Dokploy has in its place
    by: str  # the variable that says so
    branch: str | None = None  # as the platform calls it
    own: str | None = None  # the service's database; None if the preview shares one
    most: int = 0  # how many previews of the service may have a database
    changed: tuple[str, ...] = ()  # the variables that name the preview's database instead


class Placed(NamedTuple):
    """What a start reads otherwise because it is a preview's."""

    preview: Preview
    registry: Mapping[str, Service]  # in which the service's database is the preview's
    urls: Urls
    incomplete: tuple[Incomplete, ...] = ()


def of(sources: Sources) -> Preview | None:
    """The preview that the deployment, or else the platform, says this is.

    Notes a problem for a platform's preview without an id.
    """
    container, branch, host = (bare(sources.environ.get(name, "")) for name in PREVIEWS)
    branch = branch.strip('"')  # Coolify writes quotes into a compose file
    number: str | None = sources.option(_VARIABLE)
    if number == NONE:
        return None
    if number:
        return Preview(number, _VARIABLE, branch or None)
    named = _CONTAINER.fullmatch(container), _BRANCH.fullmatch(branch)
    for by, found in zip(PREVIEWS, named, strict=False):
        if found:
            return Preview(found[1], by, branch or None)
    if not host:
        return None
    label = host.rpartition("://")[2].partition("/")[0].partition(".")[0]
    if found := _HOST.fullmatch(label):
        return Preview(found[1], PREVIEWS[2])
    sources.problems.append(
        f"{PREVIEWS[2]} says that this is a preview, but its host does not begin with "
        "preview-NAME-ID, which would say which one"
    )
    sources.remedies.append(f"set {_VARIABLE} to the number of its pull request")
    return None


def place(
    sources: Sources,
    preview: Preview,
    row: Service | None,
    urls: Urls,
    registry: Mapping[str, Service],
) -> Placed:
    """Let the URLs, the service's first, name the database that ``preview.database`` gives it.

    Notes a problem if the preview would use its service's own database, or another service's.
    """
    placed = Placed(preview, registry, urls)
    _, url = next(iter(urls.values()))
    how = sources.get("preview.database", "own" if row else None)
    if how == "refuse":
        what = f"this is preview {preview.id} ({preview.by}), and preview.database is refuse"
        sources.problems.append(what)
        sources.remedies.append(
            'deploy no preview of the service, or set preview.database to "own"'
        )
    if url is None or how == "refuse":
        return placed
    if how == "own":
        return _own(sources, placed, row, url.database)
    if row:
        return _shared(placed, row, url.database)
    if how is None:
        reason = f"this is preview {preview.id} ({preview.by}) of a service that is not in the "
        reason += "registry, so the start uses the database that its URL names"
        remedy = 'Set preview.database to "own" to give each preview a database of its own, or to '
        remedy += '"shared" if previews have another URL than the service.'
        return placed._replace(incomplete=(Incomplete(reason, remedy),))
    return placed


def _shared(placed: Placed, row: Service, named: str) -> Placed:
    """Accept any database but those of the registry, the service's own among them."""
    taken = {*DEFAULTS, *(each.database for each in placed.registry.values())}
    if named in taken:
        named = f"{row.database[:_LONGEST]}_preview"  # for the remedy
    mine = row._replace(database=named)
    return placed._replace(registry={**placed.registry, row.name: mine})


def _own(sources: Sources, placed: Placed, row: Service | None, named: str) -> Placed:
    preview, registry = placed.preview, placed.registry
    if row is None and named in DEFAULTS:
        return placed  # the start refuses it
    own = row.database if row else named.removesuffix(INFIX + preview.id)
    name = database(own, preview.id)
    for other in registry.values():
        if other.database == name:
            what = f"the registry gives {name!r}, the database of preview {preview.id}, to "
            sources.problems.append(what + other.name)
            sources.remedies.append(f"give {other.name} another database in the registry")
    if row:
        registry = {**registry, row.name: row._replace(database=name)}
    urls = dict(placed.urls)
    for variable, (text, url) in placed.urls.items():
        if url and url.database != name and (url.database == own or of_database(url.database, own)):
            urls[variable] = _renamed(sources, variable, text, url, name)
    changed = tuple(variable for variable in urls if urls[variable] != placed.urls[variable])
    preview = preview._replace(own=own, most=sources.get("preview.max"), changed=changed)
    return Placed(preview, registry, urls, tuple(_others(sources, own, [*urls])))


def _renamed(
    sources: Sources, variable: str, text: str, url: Conninfo, name: str
) -> tuple[str, Conninfo | None]:
    text = dialects.with_database(text, name)
    renamed = sources.conninfo(variable, text)
    if renamed != url.with_database(name):
        sources.problems.append(f"{variable} cannot be given the database {name!r}")
        sources.remedies.append(f"name {name} in {variable}")
    return text, renamed


def _others(sources: Sources, own: str, ours: list[str]) -> Iterator[Incomplete]:
    """Other variables by which the service may find its own database all the same."""
    for name, value in sources.environ.items():
        if name in ours or name in OUR_SECRETS or not value.startswith("postgres"):
            continue
        log.hide([value])
        with suppress(dialects.ConninfoError):
            if dialects.parse(value, name).database == own:
                yield Incomplete(
                    f"{name} also names the service's own database {own!r}, and this is a preview",
                    f"Unset {name} in previews, or let the service read {ours[0]} only.",
                )


def database(own: str, preview: str) -> str:
    """The name of a preview's database, where the service's own is ``own``.

    A name that would be longer than PostgreSQL's keeps its beginning and has a hash of the whole.
    """
    end = INFIX + preview
    if len((own + end).encode()) <= MAX_NAME_BYTES:
        return own + end
    import hashlib

    end = f"_{hashlib.sha256(own.encode()).hexdigest()[:_HASH]}{end}"
    return own.encode()[: MAX_NAME_BYTES - len(end)].decode(errors="ignore") + end


def of_database(name: str, own: str) -> str | None:
    """The preview whose database has this name, where the service's own is ``own``."""
    preview = name.rpartition(INFIX)[2]
    return preview if _ID.fullmatch(preview) and database(own, preview) == name else None
