"""Whether every table on a server is where it belongs. Reads only."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from psycopg import sql

from ..config.registry import Service
from ..errors import RefusedError, UnreachableError
from ..postgres import databases, placement, transfers
from ..postgres.databases import Database
from ..postgres.quarantine import Quarantine
from ..postgres.sql import quoted
from . import look, previews
from .hygiene import of_database, of_schema
from .look import Look
from .report import Finding, Kept, Verification, failure
from .server import Server


def verify(server: Server) -> Verification:
    """Look at the default database and at those of the selected services.

    Takes one snapshot of each database, `server.MAX_SESSIONS` at once. A database that the command
    cannot look at is a failure in the answer. Raises `RefusedError` or `UnreachableError` if the
    command cannot list the server's databases.
    """
    with closing(server.open()) as session, look.snapshot(session):
        there = {database.name: database for database in databases.find(session)}
        at = look.moment(session)
    own = {service.database: service for service in server.selected}
    names = [name for name in (placement.DEFAULT, *own) if name in there]
    looks = look.at_each(names, lambda name: look.at(server, name))
    findings = [*_databases(server, there)]
    failures = []
    looked_at = []
    for name, seen in looks.items():
        if isinstance(seen, RefusedError | UnreachableError):
            failures.append(failure(name, seen))
        else:
            looked_at.append(name)
            findings += _inside(server, there[name], own.get(name), seen)
    return Verification(
        server=server.conninfo.where(),
        at=at,
        databases=looked_at,
        findings=findings,
        failures=failures,
    )


def arranged(answer: Verification, by: str) -> Verification:
    """Put the findings into an order of `SORTS`."""
    places = dict.fromkeys([*answer.databases, *(found.database for found in answer.findings)])
    order = {name: at for at, name in enumerate(places)}
    findings = sorted(answer.findings, key=lambda found: SORTS[by](found, order[found.database]))
    return answer.model_copy(update={"findings": findings})


SORTS: Final[Mapping[str, Callable[[Finding, int], Any]]] = {
    "database": lambda found, place: (
        *(place, found.level != "misplaced"),
        *(found.service is None, found.service or ""),
    ),
    "size": lambda found, _: -(found.size_bytes or 0),
    "name": lambda found, _: (found.object or found.database, found.database),
}
"""By database, with misplaced objects first, then by service; by size, largest first; by name."""


def exit_code(answer: Verification, *, strict: bool) -> int:
    """4 or 5 if the command could not look at a database, else 9 with findings, else 0."""
    if answer.failures:
        return max(failed.exit_code for failed in answer.failures)
    return 9 if any(strict or f.level == "misplaced" for f in answer.findings) else 0


def _databases(server: Server, there: dict[str, Database]) -> Iterator[Finding]:
    for service in server.selected:
        if service.database not in there:
            yield Finding(
                level="misplaced",
                finding="database_missing",
                database=service.database,
                service=service.name,
                message=f"{service.name}'s database {service.database!r} does not exist",
                remedy=f"Run entrypoint create --service {service.name}.",
            )
        else:
            yield from of_database(there[service.database], service)
    if not server.whole:
        return
    claimed = {service.database for service in server.registry.values()}
    known = {*claimed, *server.ignored, *server.maintenance, placement.DEFAULT}
    for database in there.values():
        if database.name in known or database.template:
            continue
        yield from _of_nobody(database, server)


def _of_nobody(database: Database, server: Server) -> Iterator[Finding]:
    """A database in no row of the registry; a transfer's or a preview's may be explained."""
    # Marks count before names: long names may begin alike.
    services = sorted(
        server.registry.values(), key=lambda s: not transfers.is_aside(database, s.database)
    )
    preview = previews.of(database, server.registry.values())
    if found := next(filter(None, (_of_transfer(database, each) for each in services)), None):
        yield found
    elif preview is None:
        yield Finding(
            level="notice",
            finding="database_unclaimed",
            database=database.name,
            size_bytes=database.size_bytes,
            message=f"no service claims the database {database.name!r}",
            remedy="Add the database to the registry or to verify.ignore, or drop it.",
        )
    elif not previews.mark_of(database, *preview):
        yield _unmarked(database, preview[0])


def _unmarked(database: Database, service: Service) -> Finding:
    name = database.name
    return Finding(
        level="notice",
        finding="preview_unmarked",
        database=name,
        service=service.name,
        size_bytes=database.size_bytes,
        message=f"the database {name!r} has the name of a preview of {service.name}, but not its "
        "mark",
        remedy="Start that preview, which marks it. If there is none, check what the database "
        f"contains; if you need none of it, run DROP DATABASE {quoted(name)}.",
    )


def _of_transfer(database: Database, service: Service) -> Finding | None:
    """A database that a transfer of the service has put aside, or is filling."""
    if transfers.is_kept(database.name, service.database):
        message = f"a transfer of {service.name} has put the database {database.name!r} aside"
        remedy = f"Run entrypoint transfer {service.name} --drop-aside once you no longer need it."
        if not transfers.is_aside(database, service.database):
            message = f"the database {database.name!r} has the name of one that a transfer of "
            message += f"{service.name} has put aside, but not its mark"
            name = sql.Identifier(database.name).as_string()
            remedy = f"Check what it contains; if you need none of it, run DROP DATABASE {name}."
    elif transfers.is_at_work(database.name, service.database):
        message = f"a transfer of {service.name} is filling {database.name!r}, or left it when "
        message += "something killed it"
        remedy = f"Run entrypoint transfer {service.name} again; it removes what a killed one left."
    else:
        return None
    return Finding(
        level="notice",
        finding="transfer_database",
        database=database.name,
        service=service.name,
        size_bytes=database.size_bytes,
        message=message,
        remedy=remedy,
    )


def _inside(
    server: Server, database: Database, own: Service | None, seen: Look
) -> Iterator[Finding]:
    if own is None:
        strays = placement.in_default(seen.objects, server.registry)
        if not server.whole:
            strays = [stray for stray in strays if stray.service in server.selected]
    else:
        strays = placement.in_own(seen.objects, database.name, own, server.registry)
    for stray in strays:
        yield _finding(stray)
    names = {service.name for service in server.selected}
    yield from (
        _quarantined(database.name, each, server)
        for each in seen.quarantines
        if server.whole or each.service in names
    )
    if own is not None:
        yield from of_schema(database, own, seen)


def _quarantined(database: str, each: Quarantine, server: Server) -> Finding:
    known = each.service in server.registry
    name = sql.Identifier(each.schema).as_string()
    remedy = "Its service is not in the registry. Check what it contains; if you need none of it, "
    remedy += f"run DROP SCHEMA {name} CASCADE."
    if known:
        kept = Kept(database=database, name=each.schema)
        remedy = f"{kept.remedy(each.service)} once you no longer need it, or run it with --undo."
    return Finding(
        level="notice",
        finding="quarantine",
        database=database,
        service=each.service if known else None,
        size_bytes=each.size_bytes,
        message=f"the objects that moved to {each.database!r} at {each.at} are still in the schema "
        f"{each.schema!r}",
        remedy=remedy,
    )


def _finding(stray: placement.Stray) -> Finding:
    in_default = stray.database == placement.DEFAULT
    kind = "foreign_object" if stray.misplaced else "unprefixed_object"
    return Finding(
        level="misplaced" if stray.misplaced else "notice",
        finding="stray_object" if in_default else kind,
        database=stray.database,
        service=stray.service.name if stray.service else None,
        kind=stray.object.kind,
        object=stray.object.label(),
        rows=stray.object.rows,
        size_bytes=stray.object.size_bytes,
        message=stray.message(),
        remedy=stray.remedy(),
    )
