"""Which server the operators' commands look at, and sessions on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .. import services
from ..environment import Environment, forget_libpq_variables
from ..errors import EntrypointError, RefusedError, SettingsError, UnreachableError
from ..postgres import databases
from ..postgres.cause import Cause, ConnectError, Kind
from ..postgres.conninfo import Conninfo
from ..postgres.session import Session, open_session
from ..services import Service
from ..sources import Sources

CONNECT_TIMEOUT_S: Final = 5.0

MAX_SESSIONS: Final = 4
"""Databases that are looked at at once; with the session that lists them, one more is open."""

NAME: Final = "entrypoint/operator"
"""The application_name of an operator's sessions."""

MAINTENANCE: Final = ("postgres", "defaultdb")


@dataclass(frozen=True)
class Server:
    """A server and the services that have their databases on it."""

    conninfo: Conninfo
    """Its database is replaced by whichever is looked at."""

    registry: Mapping[str, Service]
    """Every service of the registry."""

    selected: tuple[Service, ...]
    """The services that were asked for."""

    maintenance: tuple[str, ...]
    ignored: tuple[str, ...]
    """Databases that belong to no service and may be there."""

    bookkeeping: tuple[str, ...] | None

    @property
    def whole(self) -> bool:
        """Whether nobody narrowed it to some services."""
        return len(self.selected) == len(self.registry)

    def session(self, database: str) -> Session:
        """A session in a database that is there: no waiting.

        Raises `RefusedError` or `UnreachableError`.
        """
        reached = self._reach(database)
        if isinstance(reached, Cause):
            raise self._error(RefusedError, database, reached)
        return reached

    def open(self) -> Session:
        """A session for the server as a whole, in the first database that lets us in.

        The maintenance databases, then the URL's own: a service's role may have no other.
        """
        error: EntrypointError | None = None
        for name in filter(None, dict.fromkeys((*self.maintenance, self.conninfo.database))):
            reached = self._reach(name)
            if isinstance(reached, Session):
                return reached
            error = error or self._error(RefusedError, name, reached)
        assert error is not None  # noqa: S101  there is at least one name
        raise error

    def _reach(self, database: str) -> Session | Cause:
        """A session, or the cause when the server does not have this database, or refuses it."""
        conninfo = self.conninfo.with_database(database)
        try:
            session = open_session(conninfo, CONNECT_TIMEOUT_S, application_name=NAME)
        except ConnectError as error:
            cause = error.cause
        else:
            databases.read_any_encoding(session)
            return session
        if cause.kind is Kind.PASSED:
            return self._reach(database)
        if cause.kind in (Kind.MISSING, Kind.REFUSED):
            return cause
        raise self._error(UnreachableError, database, cause)

    def _error(
        self, kind: type[RefusedError | UnreachableError], database: str, cause: Cause
    ) -> EntrypointError:
        where = f"{self.conninfo.where()}, database {database!r}"
        remedy = cause.remedy.format(url=self.conninfo.source)
        return kind(f"{where}: {cause.text}", remedy=remedy)


def find(environ: Environment, url: str | None, names: list[str], ignored: list[str]) -> Server:
    """Read where the server is, from ``url`` or the environment, and which services count.

    Hides every secret from the log. Raises `SettingsError` with all problems.
    """
    sources = Sources(environ, Path())
    options, problems = sources.from_environment, sources.problems
    variable, text = _url(sources, url)
    conninfo = sources.conninfo(variable, text, needs_database=False)
    remedies = [*sources.corrections(), *sources.remedies]
    if not text and not remedies:  # or it is named in a file that cannot be used
        problems.append("no server is named")
    registry = sources.registry()
    problems += _unknown(names, registry)
    if problems or conninfo is None:
        raise SettingsError(
            problems,
            remedy=f"{'; '.join(remedies)}."
            if remedies
            else "Correct what is listed; name the server by --server URL, ENTRYPOINT_ADMIN_URL "
            "or DATABASE_URL.",
        )
    forget_libpq_variables()
    maintenance = options.get("ENTRYPOINT_MAINTENANCE_DATABASE")
    return Server(
        conninfo,
        registry,
        tuple(registry[name] for name in dict.fromkeys(names or registry)),
        (maintenance,) if maintenance else MAINTENANCE,
        (*sources.get("verify.ignore", default=()), *ignored),
        sources.get("verify.bookkeeping", default=None),
    )


def _url(sources: Sources, url: str | None) -> tuple[str, str]:
    if url:
        return "--server", url
    for name in ("ENTRYPOINT_ADMIN_URL", *sources.from_file.get("database_url", ["DATABASE_URL"])):
        if text := sources.secret(name):
            return name, text
    return "", ""


def _unknown(names: list[str], registry: Mapping[str, Service]) -> list[str]:
    problems = []
    for name in names:
        if name not in registry and registry:
            close = services.misspelt(name, registry)
            hint = f"; the nearest is {close}" if close else f"; there are {', '.join(registry)}"
            problems.append(f"the service {name[: services.MAX_SHOWN]!r} is not registered{hint}")
    return problems
