"""Looks for a service's tables in a database that the registry refuses. Only failures import it."""

import shlex
from collections.abc import Mapping
from contextlib import closing
from typing import Final

import psycopg

from ..config import registry as services
from ..config.conninfo import Conninfo
from ..config.environment import forget_libpq_variables
from ..config.settings import Lying
from ..errors import RefusedError, UnreachableError
from ..postgres import objects, opening, placement
from ..postgres.cause import ConnectError, Kind
from ..postgres.session import open_session
from ..postgres.sql import quoted

LOOK_S: Final = 2.0  # seconds to connect, and again for the queries: the start has failed already
_EVERYBODYS: Final = (placement.DEFAULT, "template1")
MAX_WITH: Final = 5  # how many tables a command names one by one at most


def look(
    named: Conninfo, own: services.Service, registry: Mapping[str, services.Service]
) -> Lying | None:
    """Return which objects of a service lie in the named database, and how to move them.

    None if the database does not exist or has no table that may be the service's. Makes one attempt
    of a few seconds for each address, and reads catalogs only. Raises nothing but `Terminated`.
    """
    if named.database == "template0":
        return None  # it accepts no connections
    forget_libpq_variables()
    name = opening.application_name(own.name)
    try:
        session = open_session(named, LOOK_S, application_name=name, patience_s=2 * LOOK_S)
        with closing(session):
            if session.database != named.database:
                return _unknown(named, own, f"it leads to {session.database!r}")
            with session.transaction(timeout_s=LOOK_S):
                tables = [each for each in objects.find(session) if each.kind == "table"]
                query = "select from pg_database where datname = %s"
                there = bool(session.connection.execute(query, [own.database]).fetchall())
                return _told(named.database, own, registry, tables, there=there)
    except ConnectError as error:
        missing = error.cause.kind is Kind.MISSING
        return None if missing else _unknown(named, own, error.cause.text)
    except (RefusedError, UnreachableError) as error:
        return _unknown(named, own, error.message)
    except psycopg.Error as error:
        return _unknown(named, own, error.sqlstate or type(error).__name__)


def _told(
    name: str,
    own: services.Service,
    registry: Mapping[str, services.Service],
    tables: list[objects.Object],
    *,
    there: bool,
) -> Lying | None:
    claimed = [each for each in tables if services.claimant(each.name, registry) == own]
    rest = [each for each in tables if services.claimant(each.name, registry) is None]
    if name in _EVERYBODYS:
        rest = []  # nobody knows whose these are
    found = claimed + rest
    if not found:
        return None
    whose = f" of {own.name}" if claimed else ""
    what = f"it has {len(found)} {'table' if len(found) == 1 else 'tables'}{whose}"
    ways = [_transfer(name, own, rest)]
    if not there and name not in _EVERYBODYS:
        old, new = (quoted(each) for each in (name, own.database))
        who = "as a superuser or as its owner with CREATEDB, while no session is connected to it"
        ways.insert(0, f"ALTER DATABASE {old} RENAME TO {new} ({who})")
    return Lying(f"{what}, such as {found[0].label()!r}", f"Run {', or '.join(ways)}")


def _transfer(name: str, own: services.Service, rest: list[objects.Object]) -> str:
    words = [own.name, "--from", name]
    if len(rest) <= MAX_WITH:
        words += [word for each in rest for word in ("--with", each.label())]
        return f"entrypoint transfer {shlex.join(words)}"
    told = f"--with for each of {len(rest)} tables without a prefix of the service"
    return f"entrypoint transfer {shlex.join(words)} and {told}"


def _unknown(named: Conninfo, own: services.Service, why: str) -> Lying:
    transfer = _transfer(named.database, own, [])
    return Lying(
        f"the start could not look for tables of the service in it ({why})",
        f"Check first whether {named.database!r} at {named.where()} has tables of the service that "
        f"{own.database!r} lacks; {transfer} moves them",
    )
