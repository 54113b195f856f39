"""Steps 2 and 3 together: a session in the service's database, created if it is missing."""

import time
from contextlib import closing, suppress
from typing import Final, NamedTuple

from .. import log
from ..errors import EntrypointError, RefusedError, SettingsError
from ..postgres.cause import Cause, Kind
from ..postgres.conninfo import Conninfo
from ..postgres.session import Session
from . import wait

_PUBLIC_CLOSED_SINCE: Final = 150000
"""The first server version that lets PUBLIC create nothing in schema public."""

AFTER_CREATE_S: Final = 15.0
"""Seconds in which a database that was just created must let us in."""


class Creation(NamedTuple):
    """How a missing database is created: from which others, by whom, and for whom."""

    admin: Conninfo
    maintenance_databases: tuple[str, ...]
    isolate: bool


def database(
    target: Conninfo,
    reached: Session | Cause,
    creation: Creation,
    connect: wait.Connect,
    deadline: float,
) -> tuple[Session, bool]:
    """A session in the target, and whether it had to be created.

    Raises `SettingsError` when the server says that this is another database than the URL names,
    and what `wait` and `database.create` raise.
    """
    created = False
    if isinstance(reached, Session):
        session = reached
    else:
        created = _create(target, creation, connect, deadline)
        late = max(deadline, time.monotonic() + AFTER_CREATE_S)
        session = wait.until_ready(target, connect, deadline=late)
    if session.database != target.database:
        session.close()
        raise SettingsError(
            [f"{target.variable} names {target.database!r} and leads to {session.database!r}"],
            remedy=f"Correct the pooler's alias, or name the database itself in {target.variable}.",
        )
    return session, created


def _create(target: Conninfo, creation: Creation, connect: wait.Connect, deadline: float) -> bool:
    from ..postgres import databases  # only a missing database pays for it

    admin = _maintenance(creation, connect, deadline)
    if admin is None:
        return False
    with closing(admin):
        version = admin.server_version
        created = databases.create(
            admin,
            target.database,
            owner=target.user,
            isolate=creation.isolate,
            deadline=deadline,
        )
    if created:
        log.event("info", "database.created", database=target.database, owner=target.user)
    if created and creation.isolate and version < _PUBLIC_CLOSED_SINCE:
        admin_there = creation.admin.with_database(target.database)
        _close_public(admin_there, target.user, connect, deadline)
    return created


def _close_public(admin: Conninfo, owner: str, connect: wait.Connect, deadline: float) -> None:
    """Do what later servers do by themselves; where we may not, the step under the lock says so."""
    from ..postgres import ownership

    with (
        suppress(RefusedError),
        closing(wait.until_ready(admin, connect, deadline=deadline)) as new,
    ):
        ownership.close_public(new, owner)


def _maintenance(creation: Creation, connect: wait.Connect, deadline: float) -> Session | None:
    """A session to create the database from; None when a pooler does not say what is wrong."""
    refusal: EntrypointError | None = None
    unclear = False
    for name in creation.maintenance_databases:
        admin = creation.admin.with_database(name)
        try:
            reached = wait.until_answered(admin, connect, deadline=deadline)
        except RefusedError as error:
            refusal = refusal or error
            continue
        if isinstance(reached, Session):
            return reached
        unclear = unclear or reached.kind is Kind.UNCLEAR
    if unclear:
        return None
    names = ", ".join(creation.maintenance_databases)
    raise refusal or RefusedError(
        f"none of the databases {names} exists to create another from",
        remedy="Set ENTRYPOINT_MAINTENANCE_DATABASE to a database that this role may connect to.",
    )
