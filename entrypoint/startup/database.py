"""Step 3: create the service's database if it is missing."""

import time
from collections.abc import Sequence
from typing import Final

import psycopg
from psycopg import sql

from .. import log
from ..errors import RefusedError
from ..postgres.session import Session, translated

RETRY_S: Final = 0.5
"""Seconds between two tries while the template is in use."""


def create(admin: Session, name: str, *, owner: str, isolate: bool, deadline: float) -> bool:
    """Create a database from template0 as UTF8, owned by ``owner``. Idempotent and race-safe.

    Returns whether it was us. With ``isolate`` PUBLIC may no longer connect to a database that we
    created. A failure in between leaves the database there and complete, open to PUBLIC. Raises
    `RefusedError` for a lacking privilege, `UnreachableError` when the server goes away.
    """
    connection = admin.connection
    user = connection.info.user
    remedy = (
        f'Run ALTER ROLE "{user}" CREATEDB (and GRANT "{owner}" TO "{user}" if they differ), or '
        "set ENTRYPOINT_ADMIN_URL to a role that may create databases."
    )
    with translated(f"creating the database {name!r} as role {user!r}", remedy=remedy):
        found = connection.execute("select from pg_catalog.pg_database where datname = %s", [name])
        if found.fetchone() is not None or not _create(admin, name, owner, deadline):
            return False
        if isolate:
            # A newer database inherits CONNECT for everybody, and six services share the server.
            connection.execute(
                sql.SQL("revoke connect on database {} from public").format(sql.Identifier(name))
            )
    return True


def _create(admin: Session, name: str, owner: str, deadline: float) -> bool:
    statement = sql.SQL("create database {} template template0 encoding 'UTF8' owner {}").format(
        sql.Identifier(name), sql.Identifier(owner)
    )
    try:
        _execute(admin, statement, deadline)
    except psycopg.errors.DuplicateDatabase:
        return False
    except psycopg.errors.UniqueViolation as error:
        # What every loser of a race gets: the check by name came before the winner's commit.
        if error.diag.constraint_name != "pg_database_datname_index":
            raise
        return False
    return True


def _execute(admin: Session, statement: sql.Composed, deadline: float) -> None:
    """Execute CREATE DATABASE, with a plain locale if the server's own cannot hold UTF8."""
    while True:
        try:
            admin.connection.execute(statement)
        except psycopg.errors.InvalidParameterValue:
            log.event("warning", "database.locale_replaced", locale="C")
            admin.connection.execute(statement + sql.SQL(" lc_collate 'C' lc_ctype 'C'"))
        except psycopg.errors.ObjectInUse:  # the template; the server itself waited for 5 s
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)
            continue
        return


def missing_extensions(session: Session, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that the session's database does not have yet."""
    if not names:
        return []
    with translated("looking for extensions", remedy="Start again."):
        rows = session.connection.execute("select extname from pg_catalog.pg_extension").fetchall()
    return [name for name in names if (name,) not in rows]


def create_extensions(session: Session, names: Sequence[str]) -> None:
    """Create extensions, one statement each, under the lock: IF NOT EXISTS loses races too.

    Idempotent. Raises `RefusedError` with what is lacking, `UnreachableError` when the server goes
    away; those created before stay.
    """
    for name in names:
        statement = sql.SQL("create extension if not exists {}").format(sql.Identifier(name))
        try:
            with translated(f"creating the extension {name!r}", remedy=_EXTENSION_RIGHT):
                session.connection.execute(statement)
        except RefusedError as error:
            if error.fields.get("sqlstate") in ("58P01", "0A000"):
                error.remedy = (
                    f"Install the extension {name!r} on the server, or take it out of "
                    "database.extensions."
                )
            raise


_EXTENSION_RIGHT: Final = (
    "Set ENTRYPOINT_ADMIN_URL to a role that may create this extension, or let an operator do it."
)
