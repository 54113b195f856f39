"""Creates the databases of the registry that are missing."""

import time
from contextlib import closing
from typing import Final, Literal

from ..config.registry import Service
from ..errors import RefusedError, UnreachableError
from ..postgres import databases
from ..postgres.databases import Database
from ..postgres.session import Session
from . import hygiene, look
from .report import Creation, Creations
from .server import Server
from .verify import failure

TIMEOUT_S: Final = 30.0  # seconds for which `create` waits for the server's template


def create(server: Server, *, isolate: bool, dry_run: bool) -> Creations:
    """Create missing databases, owned by the registry's ``owner``, else by our role. Idempotent.

    Race-safe: a database that somebody else creates meanwhile exists. An existing database with
    another owner than the registry's is a failure, because somebody may have created it as a trap.
    With ``isolate`` PUBLIC may not connect to databases that this command created. Raises
    `RefusedError` or `UnreachableError` if it cannot list the server's databases.
    """
    with closing(server.open()) as session:
        with look.snapshot(session):
            there = {database.name: database for database in databases.find(session)}
        answers = []
        for service in server.selected:
            if database := there.get(service.database):
                answers.append(_found(service, database))
            elif dry_run:
                answers.append(_answer(service, "missing"))
            else:
                answers.append(_create(session, service, isolate=isolate))
    return Creations(server=server.conninfo.where(), dry_run=dry_run, databases=answers)


def exit_code(answer: Creations) -> int:
    """0, or the greatest code of the failures."""
    failures = [each.failure.exit_code for each in answer.databases if each.failure]
    return max(failures, default=0)


def _answer(service: Service, result: Literal["created", "exists", "missing"]) -> Creation:
    return Creation(service=service.name, database=service.database, result=result)


def _found(service: Service, database: Database) -> Creation:
    """Answer for an existing database; if its owner is not the registry's, it is a failure."""
    found = next(hygiene.wrong_owner(database, service), None)
    if found is None:
        return _answer(service, "exists")
    error = RefusedError(found.message, remedy=found.remedy)
    return _answer(service, "exists").model_copy(
        update={"result": "failed", "failure": failure(service.database, error)}
    )


def _create(session: Session, service: Service, *, isolate: bool) -> Creation:
    deadline = time.monotonic() + TIMEOUT_S
    name = service.database
    try:
        owner = service.owner or databases.acts_as(session, session.connection.info.user)
        ours = databases.create(session, name, owner=owner, isolate=isolate, deadline=deadline)
    except (RefusedError, UnreachableError) as error:
        failed = failure(name, error)
        return Creation(service=service.name, database=name, result="failed", failure=failed)
    return _answer(service, "created" if ours else "exists")
