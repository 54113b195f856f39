"""Previews: containers of a pull request, each of which gets a database of its own.

docs/how-to/previews.md says what the platforms set, with its source.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from .. import log
from . import dialects
from .conninfo import MAX_NAME_BYTES, Conninfo, suffixed, unquote
from .keys import NONE, NUMBER, OUR_SECRETS, PREVIEWS, bare
from .reader import Sources
from .registry import DEFAULTS, Service
from .settings import Incomplete

INFIX: Final = "_pr_"  # between the name of the service's database and the preview
_VARIABLE: Final = "ENTRYPOINT_PREVIEW"
_DOKPLOY: Final = "DOKPLOY_DEPLOY_URL"
_ID = re.compile(rf"{NUMBER}|[a-z0-9]{{6}}")  # a pull request's number, or Dokploy's characters
_HASH: Final = 8  # characters

_CONTAINER = re.compile(rf".*-pr-({NUMBER})")
_BRANCH = re.compile(rf"(?:pull|merge-requests)/({NUMBER})/head")
_HOST = re.compile(r"preview-.+-([a-z0-9]{6})(?:(?:-\d{1,3}){4})?")  # an address is sslip.io's

_URL = re.compile(
    r"[\s\"']*(?:jdbc:)?(postgres(?:ql)?(?:\+\w+)?://.*?)[\s\"']*", re.IGNORECASE | re.DOTALL
)

_ANY_URL = re.compile(r"[\s\"']*[\w+.:-]*(?:pg|postg|sql|prisma)[\w+.:-]*://", re.IGNORECASE)
_KEYWORDS = re.compile(r"\b(?:dbname|database)\s*=", re.IGNORECASE)

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
    container, branch, host = (
        bare(sources.environ.get(name, "")).strip("\"'") for name in PREVIEWS
    )  # Coolify writes quotes into a compose file
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
        return Preview(found[1], _DOKPLOY)
    sources.problems.append(
        f"{_DOKPLOY} says that this is a preview, but its host does not begin with "
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

    Notes a problem if the preview, or its push by another variable, would use its service's own
    database, or another service's.
    """
    placed = Placed(preview, registry, urls)
    how = sources.get("preview.database", "own" if row else None)
    if how == "refuse":
        what = f"this is preview {preview.id} ({preview.by}), and preview.database is refuse"
        sources.problems.append(what)
        sources.remedies.append(
            'deploy no preview of the service, or set preview.database to "own"'
        )
        return placed
    url = next(iter(urls.values()))[1]
    own = row.database if row else None
    if how == "own" and (row or url):
        own = row.database if row else _base(sources, url, registry)
        placed = _own(sources, placed, row, own) if own else placed
    elif row:
        placed = _shared(sources, placed, row, url)
    elif how is None:
        reason = f"this is preview {preview.id} ({preview.by}) of a service that is not in the "
        reason += "registry, so the start uses the database that its URL names"
        remedy = 'Set preview.database to "own" to give each preview a database of its own, or to '
        remedy += '"shared" if previews have another URL than the service.'
        placed = placed._replace(incomplete=(Incomplete(reason, remedy),))
    if own:
        _check_others(sources, placed, own)
    return placed


def _shared(sources: Sources, placed: Placed, row: Service, url: Conninfo | None) -> Placed:
    """Accept any database but those of the registry, the service's own among them."""
    name = suffixed(row.database, "_preview")
    _correct(sources, row.database, name)
    taken = {*DEFAULTS, *(each.database for each in placed.registry.values())}
    if url and url.database not in taken:
        name = url.database
    return placed._replace(registry={**placed.registry, row.name: row._replace(database=name)})


def _base(sources: Sources, url: Conninfo | None, registry: Mapping[str, Service]) -> str | None:
    """The own database of a service without a row: what its URL names, less a preview's ending."""
    named = url.database if url else ""
    for each in registry.values():
        if preview := of_database(named, each.database):
            what = f"names the database {named!r}, that of preview {preview} of {each.name}"
            sources.problems.append(f"{sources.where(url.variable if url else '')} {what}")
            return None
    if named in {*DEFAULTS, *(each.database for each in registry.values())}:
        return None  # the start refuses it
    return re.sub(f"{INFIX}{NUMBER}$", "", named)


def _own(sources: Sources, placed: Placed, row: Service | None, own: str) -> Placed:
    preview, registry = placed.preview, placed.registry
    name = database(own, preview.id)
    for other in registry.values():
        if other.database == name:
            what = f"the registry gives {name!r}, the database of preview {preview.id}, to "
            sources.problems.append(what + other.name)
            sources.remedies.append(f"give {other.name} another database in the registry")
    if row:
        registry = {**registry, row.name: row._replace(database=name)}
    _correct(sources, own, name)
    urls = dict(placed.urls)
    for variable in sources.get("database_url"):
        if variable not in urls and (text := sources.secret(variable)):
            urls[variable] = (text, sources.conninfo(variable, text))
    named = {variable: text for variable, (text, _) in urls.items()}
    for variable, (text, url) in urls.items():
        if url and url.database != name and (url.database == own or of_database(url.database, own)):
            urls[variable] = _renamed(sources, variable, text, url, name)
    changed = tuple(variable for variable, (text, _) in urls.items() if text != named[variable])
    preview = preview._replace(own=own, most=sources.get("preview.max"), changed=changed)
    return Placed(preview, registry, urls)


def _correct(sources: Sources, own: str, name: str) -> None:
    """Let the corrected forms of refused URLs name the preview's database, not the service's."""
    for variable, corrected in sources.corrected.items():
        with suppress(dialects.ConninfoError):
            named = dialects.parse(corrected).database
            if named == own or of_database(named, own):
                sources.corrected[variable] = dialects.with_database(corrected, name)


def _renamed(
    sources: Sources, variable: str, text: str, url: Conninfo, name: str
) -> tuple[str, Conninfo | None]:
    text = dialects.with_database(text, name)
    renamed = sources.conninfo(variable, text)
    if renamed != url.with_database(name):
        sources.problems.append(f"{variable} cannot be given the database {name!r}")
        sources.remedies.append(f"name {name} in {variable}")
    return text, renamed


def _check_others(sources: Sources, placed: Placed, own: str) -> None:
    """Refuse other variables by which a push, or the service, may find its own database."""
    environ = sources.environ
    ours = {name + end for name in (*OUR_SECRETS, *placed.urls) for end in ("", "_FILE")}
    for name in sorted(environ.keys() - ours):
        if _leads_to(own, name, environ):
            sources.problems.append(
                f"{name} leads to the service's own database {own!r}, and this is preview "
                f"{placed.preview.id} ({placed.preview.by})"
            )
            sources.remedies.append(f"unset {name} in previews")
            if placed.preview.own and not name.startswith("PG"):
                line = f"or write {name} into database_url in {sources.file}"
                sources.remedies.append(f"{line}, so that it changes too")


def _leads_to(own: str, name: str, environ: Mapping[str, str]) -> bool:
    """Whether some driver would find the database by this variable; its secrets are masked."""
    value = environ[name]
    if name.startswith("PG"):  # libpq's own; its default is the database named like the role
        default = name == "PGUSER" and not environ.get("PGDATABASE")
        return name == "PGSERVICE" or ((name == "PGDATABASE" or default) and bare(value) == own)
    if not _ANY_URL.match(value) and not _KEYWORDS.search(value):
        return False
    log.hide([value])
    found = _URL.fullmatch(value)
    try:
        url = dialects.parse(found[1] if found else value, name)
    except dialects.ConninfoError:
        # Drivers accept more than we do: then the name alone decides.
        return bool(re.search(rf"(?<![\w-]){re.escape(own)}(?![\w-])", unquote(value)))
    log.hide(url.secrets, shown=[url.user, url.database])
    return url.database == own


def database(own: str, preview: str) -> str:
    """The name of a preview's database, where the service's own is ``own``.

    A name that would be longer than PostgreSQL's keeps its beginning and has a hash of the whole.
    """
    end = INFIX + preview
    if len((own + end).encode()) <= MAX_NAME_BYTES:
        return own + end
    import hashlib

    end = f"_{hashlib.sha256(own.encode()).hexdigest()[:_HASH]}{end}"
    return suffixed(own, end)


def of_database(name: str, own: str) -> str | None:
    """The preview whose database has this name, where the service's own is ``own``."""
    preview = name.rpartition(INFIX)[2]
    return preview if _ID.fullmatch(preview) and database(own, preview) == name else None
