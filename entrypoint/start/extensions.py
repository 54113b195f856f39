"""Creates the extensions in the settings, under the lock and before the push."""

import secrets
import time
from collections.abc import Sequence
from typing import Any, Final

from psycopg import sql

from ..errors import RefusedError
from ..postgres.session import Session, translated

CREATE_S: Final = 120.0  # seconds for all scripts; each may wait half as long for a lock
_NO_PRIVILEGE: Final = "42501"


def missing(session: Session, names: Sequence[str]) -> list[str]:
    """The extensions in ``names`` that the database lacks, in order."""
    if not names:
        return []
    with translated("looking for extensions", remedy="Start again."):
        rows = session.connection.execute("select extname from pg_catalog.pg_extension").fetchall()
    return [name for name in names if (name,) not in rows]


def schema(session: Session) -> str:
    """The schema in which the session's role creates objects by default."""
    looking = translated("looking at the search_path", remedy="Start again.")
    with looking, session.transaction(names="default"):
        row: Any = session.connection.execute("select pg_catalog.current_schema()").fetchone()
    return row[0] if row and row[0] and not row[0].startswith("pg_") else "public"


def create(session: Session, names: Sequence[str], where: str, *, last: bool) -> list[str]:
    """Create extensions in the schema ``where``, one statement each; return those not permitted.

    Needs the lock, because IF NOT EXISTS loses races too. Idempotent. With ``last`` a missing right
    raises instead. Raises `RefusedError`, and `UnreachableError` if the server goes away or all
    together take longer than `CREATE_S`; extensions created before stay.
    """
    left = []
    deadline = time.monotonic() + CREATE_S
    for name in names:
        try:
            with translated(f"creating the extension {name!r}", remedy=_EXTENSION_RIGHT):
                _create(session, name, where, max(1.0, deadline - time.monotonic()))
        except RefusedError as error:
            code = error.fields.get("sqlstate")
            if code == _NO_PRIVILEGE and not last:
                left.append(name)
                continue
            if code in ("58P01", "0A000"):
                place = "on the server, or remove it from database.extensions"
                error.remedy = f"Install the extension {name!r} {place}."
            raise
    return left


def _create(session: Session, name: str, where: str, timeout_s: float) -> None:
    """Create an extension so that a superuser's script runs no code of other roles.

    A script runs with the superuser's rights and resolves names in its own schema first. So the
    extension is created in an empty schema and then moved. If its author forbids the move, neither
    its schema nor the schemas of the extensions that it requires may contain objects of a role that
    is no superuser. ``set local role none`` undoes a role that the database's owner may have set
    for all sessions.
    """
    create = sql.SQL("create extension if not exists {}").format(sql.Identifier(name))
    there = sql.SQL("{} schema {}").format(create, sql.Identifier(where))
    connection = session.connection
    with session.transaction(timeout_s=timeout_s):
        row: Any = session.row("start/extension_control", [name])
        fixed, movable, spaces, superuser = row or (None, False, [], False)
        if not superuser:
            connection.execute(create if fixed else there)
            return
        # With replica, no event triggers run.
        connection.execute("set local role none; set local session_replication_role = replica")
        aside = movable and not fixed
        searched = spaces if aside else [fixed or where, *spaces]
        found: Any = session.row("start/owned_in_schemas", [searched])
        if found[0]:
            raise RefusedError(
                f"a superuser would create the extension {name!r}, and its script might call code "
                f"of another role in {' or '.join(map(repr, searched))}",
                remedy="Let an operator review that schema and run CREATE EXTENSION.",
            )
        if aside:
            # Only this transaction sees the schema, and no role can have taken its name.
            scratch = sql.Identifier(f"entrypoint_{secrets.token_hex(8)}")
            connection.execute(sql.SQL("create schema {}").format(scratch))
            connection.execute(sql.SQL("{} schema {}").format(create, scratch))
            move = sql.SQL("alter extension {} set schema {}")
            connection.execute(move.format(sql.Identifier(name), sql.Identifier(where)))
            connection.execute(sql.SQL("drop schema {}").format(scratch))
        else:
            connection.execute(create if fixed else there)


_EXTENSION_RIGHT: Final = (
    "Set ENTRYPOINT_ADMIN_URL to a role that may create this extension, or let an operator do so."
)
