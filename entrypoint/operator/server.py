"""Which server the operators' commands look at, and sessions on it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..config import registry as services
from ..config.conninfo import Conninfo
from ..config.environment import Environment, forget_libpq_variables
from ..config.reader import Sources
from ..config.registry import Service
from ..errors import EntrypointError, RefusedError, SettingsError, UnreachableError
from ..postgres import databases
from ..postgres.cause import Cause, ConnectError, Kind
from ..postgres.session import Session, open_session, translated
from ..postgres.sql import load_sql

CONNECT_TIMEOUT_S: Final = 5.0
MAX_SESSIONS: Final = 4  # databases to look at at once; the session that lists them comes on top
NAME: Final = "entrypoint/operator"  # the application_name of an operator's sessions
MAINTENANCE: Final = ("postgres", "defaultdb")
_TRANSACTION_TIMEOUT_SINCE: Final = 170000
_LATER: Final = re.compile(r"[,;] (?:or|if (?:the|that) [^,;]*,) raise ENTRYPOINT_WAIT_TIMEOUT")
"""A start's advice to raise the timeout; an operator's command does not wait."""

_NAMES: Final = "Use the name of a service in the registry."
_CONTAINER: Final = re.compile(r"\b(?:this|the) container\b")


@dataclass(frozen=True)
class Server:
    """A server and the services that have their databases on it."""

    conninfo: Conninfo  # the name of the database to look at replaces its database
    registry: Mapping[str, Service]
    selected: tuple[Service, ...]  # the services that the command line names, by default all
    maintenance: tuple[str, ...]
    ignored: tuple[str, ...]  # databases without a service that may be there
    bookkeeping: tuple[str, ...] | None
    lock_timeout_s: float | None = None  # turns all others off; None: the role's settings
    passing: bool = False  # a crash may lose the work: no commit waits; needs `lock_timeout_s`
    reads: bool = False  # whether the command only looks, so that a standby will do

    @property
    def whole(self) -> bool:
        """Whether the command is about all services."""
        return len(self.selected) == len(self.registry)

    def session(self, database: str) -> Session:
        """Open a session in a database that exists. Raises `RefusedError` or `UnreachableError`."""
        reached = self._reach(database)
        if isinstance(reached, Cause):
            raise self._error(RefusedError, database, reached)
        return reached

    def open(self) -> Session:
        """Open a session for the server as a whole, in the first database that lets us in.

        Tries the maintenance databases, then the URL's own: a service's role may have no other.
        Raises `RefusedError` or `UnreachableError`.
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
        """A session, or the cause if the server does not have this database, or refuses it."""
        conninfo = self.conninfo.with_database(database)
        try:
            session = open_session(
                conninfo, CONNECT_TIMEOUT_S, application_name=NAME, reads=self.reads
            )
        except ConnectError as error:
            cause = error.cause
        else:
            databases.read_any_encoding(session)
            self._set(session)
            return session
        if cause.kind is Kind.PASSED:
            return self._reach(database)
        if cause.kind in (Kind.MISSING, Kind.REFUSED):
            return cause
        raise self._error(UnreachableError, database, cause)

    def _set(self, session: Session) -> None:
        # A pooler would hand the settings to its next client.
        if session.pooled:
            return
        with translated("setting up a session", remedy="Start again."):
            # To compile a query over catalogs takes ten times as long as to run it.
            wanted = ["set jit = off"]
            if self.lock_timeout_s is not None:
                limits = load_sql("operator/session_limits")
                wanted.append(limits.format(lock_wait_ms=int(self.lock_timeout_s * 1000)))
                if session.server_version >= _TRANSACTION_TIMEOUT_SINCE:
                    wanted.append("set transaction_timeout = 0")
                if self.passing:
                    wanted.append("set synchronous_commit = off")
            session.connection.execute("; ".join(wanted).encode())

    def _error(
        self, kind: type[RefusedError | UnreachableError], database: str, cause: Cause
    ) -> EntrypointError:
        where = f"{self.conninfo.where()}, database {database!r}"
        remedy = retold(cause.remedy).format(url=self.conninfo.source)
        return kind(f"{where}: {retold(cause.text)}", remedy=remedy)


def retold(text: str) -> str:
    """A start's text about a server, for a person who may be anywhere and waits for nothing."""
    return _CONTAINER.sub("this machine", _LATER.sub("", text))


def find(environ: Environment, url: str | None, names: list[str], ignored: list[str]) -> Server:
    """Read where the server is, from ``url`` or the environment, and which services count.

    Hides every secret from the log. Raises `SettingsError` with all problems.
    """
    sources = Sources(environ)
    problems = sources.problems
    variable, text = _url(sources, url)
    conninfo = sources.conninfo(variable, text, needs_database=False)
    remedies = [*sources.corrections(), *sources.remedies]
    if not text and not remedies:  # a _FILE variable may name it and fail
        problems.append("no server is configured")
    registry = sources.registry()
    unknown = _unknown(names, registry)
    if unknown and conninfo is not None and not problems:
        raise SettingsError(unknown, remedy=_NAMES)
    problems += unknown
    if problems or conninfo is None:
        raise SettingsError(
            problems,
            remedy=f"{'; '.join(remedies)}."
            if remedies
            else "Correct the listed problems; name the server with --server URL, "
            "ENTRYPOINT_ADMIN_URL or DATABASE_URL.",
        )
    forget_libpq_variables()
    maintenance = sources.option("ENTRYPOINT_MAINTENANCE_DATABASE")
    return Server(
        conninfo,
        registry,
        tuple(registry[name] for name in dict.fromkeys(names or registry)),
        (maintenance,) if maintenance else MAINTENANCE,
        (*sources.get("verify.ignore"), *ignored),
        sources.get("verify.bookkeeping"),
    )


class Registered(NamedTuple):
    """What the registry and the settings say of services, on whichever server they are."""

    registry: Mapping[str, Service]
    selected: tuple[Service, ...]
    bookkeeping: tuple[str, ...] | None


def registered(environ: Environment, names: list[str]) -> Registered:
    """Read the services for a command that asks no server. Raises `SettingsError`."""
    sources = Sources(environ)
    registry = sources.registry()
    problems = [*sources.problems, *(unknown := _unknown(names, registry))]
    if problems:
        remedy = _NAMES if problems == unknown else "Correct the listed problems."
        raise SettingsError(problems, remedy=remedy)
    return Registered(
        registry,
        tuple(registry[name] for name in dict.fromkeys(names or registry)),
        sources.get("verify.bookkeeping"),
    )


def _url(sources: Sources, url: str | None) -> tuple[str, str]:
    if url:
        return "--server", url
    for name in ("ENTRYPOINT_ADMIN_URL", *sources.get("database_url")):
        if text := sources.secret(name):
            return name, text
    return "", ""


def _unknown(names: list[str], registry: Mapping[str, Service]) -> list[str]:
    problems = []
    for name in names:
        if name not in registry and registry:
            close = services.misspelt(name, registry) or services.namesake(name, registry)
            hint = f"; the nearest is {close}" if close else f"; it has {', '.join(registry)}"
            problems.append(f"the registry has no service {name[: services.MAX_SHOWN]!r}{hint}")
    return problems
