"""Step 3, where the database is there: the extensions that the service asks for."""

from collections.abc import Sequence
from typing import Final

from psycopg import sql

from ..errors import RefusedError
from ..postgres.session import Session, translated


def missing(session: Session, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that the session's database does not have yet."""
    if not names:
        return []
    with translated("looking for extensions", remedy="Start again."):
        rows = session.connection.execute("select extname from pg_catalog.pg_extension").fetchall()
    return [name for name in names if (name,) not in rows]


def create(session: Session, names: Sequence[str]) -> None:
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
