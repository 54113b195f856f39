"""Creates the databases of the registry that are missing."""

import time
from contextlib import closing
from functools import partial
from typing import Final

from ..config.registry import Service
from ..errors import RefusedError, UnreachableError
from ..postgres import databases
from ..postgres.databases import Database
from ..postgres.session import Session
from . import hygiene, look
from .report import Creation, Creations, failure
from .server import Server

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
            answer = partial(Creation, service=service.name, database=service.database)
            database = there.get(service.database)
            try:
                if dry_run and database is None:
                    answers.append(answer(result="missing"))
                else:
                    made = _made(session, service, database, isolate=isolate)
                    answers.append(answer(result="created" if made else "exists"))
            except (RefusedError, UnreachableError) as error:
                failed = failure(service.database, error)
                answers.append(answer(result="failed", failure=failed))
    return Creations(server=server.conninfo.where(), dry_run=dry_run, databases=answers)


def exit_code(answer: Creations) -> int:
    """0, or the greatest code of the failures."""
    return max((each.failure.exit_code for each in answer.databases if each.failure), default=0)


def _made(session: Session, service: Service, database: Database | None, *, isolate: bool) -> bool:
    """Whether this call created the database; refuse an existing one with a wrong owner."""
    if database is not None:
        for found in hygiene.wrong_owner(database, service):
            raise RefusedError(found.message, remedy=found.remedy)
        return False
    owner = service.owner or databases.acts_as(session, session.connection.info.user)
    deadline = time.monotonic() + TIMEOUT_S
    return databases.create(
        session, service.database, owner=owner, isolate=isolate, deadline=deadline
    )
