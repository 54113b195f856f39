"""Whether every table on a server is where it belongs. Reads only."""

from collections.abc import Iterator
from contextlib import closing
from typing import Literal

from ..errors import RefusedError, UnreachableError
from ..postgres import databases, placement
from ..postgres.databases import Database
from ..services import Service
from . import look
from .hygiene import of_database, of_schema
from .look import Look
from .report import Failure, Finding, Verification
from .server import Server
from .transfer.quarantine import Quarantine


def verify(server: Server) -> Verification:
    """Look at the default database and at those of the selected services.

    One snapshot for each database, `server.MAX_SESSIONS` of them at once. Raises `RefusedError` or
    `UnreachableError` when the server's databases cannot be listed; a single one that cannot be
    looked at is a failure in the answer.
    """
    with closing(server.open()) as session, look.snapshot(session):
        there = {database.name: database for database in databases.find(session)}
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
        server=server.conninfo.where(), databases=looked_at, findings=findings, failures=failures
    )


def failure(database: str, error: RefusedError | UnreachableError) -> Failure:
    """A database that could not be looked at, as data."""
    return Failure(
        database=database, exit_code=error.exit_code, message=error.message, remedy=error.remedy
    )


def exit_code(answer: Verification, *, strict: bool) -> int:
    """0 when clean, 9 with findings, 4 or 5 when something could not be looked at.

    That is never clean, whatever the rest says.
    """
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
        if database.name not in known and not database.template:
            yield Finding(
                level="notice",
                finding="database_unclaimed",
                database=database.name,
                size_bytes=database.size_bytes,
                message=f"no service claims the database {database.name!r}",
                remedy="Add it to the registry or to verify.ignore, or drop it.",
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
        _quarantined(database.name, each)
        for each in seen.quarantines
        if server.whole or each.service in names
    )
    if own is not None:
        yield from of_schema(database, own, seen)


def _quarantined(database: str, each: Quarantine) -> Finding:
    return Finding(
        level="notice",
        finding="quarantine",
        database=database,
        service=each.service,
        size_bytes=each.size_bytes,
        message=f"what moved to {each.database!r} at {each.at} is still in the schema "
        f"{each.schema!r}",
        remedy=f"Run entrypoint transfer {each.service} --drop-quarantine when nobody misses it, "
        "or --undo.",
    )


def _finding(stray: placement.Stray) -> Finding:
    in_default = stray.database == placement.DEFAULT
    kind: Literal["foreign_object", "unprefixed_object"] = (
        "foreign_object" if stray.misplaced else "unprefixed_object"
    )
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
