"""The databases of a server: which there are, and how one is created."""

import math
import time
from typing import Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from .. import log
from ..errors import RefusedError
from .session import PATIENCE_S, WORD_S, Session, translated

RETRY_S: Final = 0.5
"""Seconds between two tries while the template is in use."""

_COLLATION_SINCE: Final = 150000
"""The first server version that records the version of a database's collation."""


class Database(NamedTuple):
    """One database, as the server's catalog has it."""

    name: str
    owner: str
    encoding: str
    template: bool
    allows_connections: bool
    public_may_connect: bool
    may_connect: bool
    """Whether this session's role may."""

    size_bytes: int | None
    """None where the role may not know."""

    collation_stale: bool
    """Whether its texts were sorted by another version of the C library or of ICU."""

    comment: str | None
    """Where the ledger is."""


def find(session: Session) -> list[Database]:
    """All databases, by name. Raises `RefusedError` and `UnreachableError`."""
    stale = "false"
    if session.server_version >= _COLLATION_SINCE:
        stale = """datcollversion is not null
            and datcollversion is distinct from pg_database_collation_actual_version(d.oid)"""
    query = f"""
        select datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datistemplate,
          datallowconn, has_database_privilege('public', d.oid, 'connect'),
          has_database_privilege(d.oid, 'connect'),
          case when has_database_privilege(d.oid, 'connect')
            or pg_has_role('pg_read_all_stats', 'usage') then pg_database_size(d.oid) end,
          {stale}, shobj_description(d.oid, 'pg_database')
        from pg_catalog.pg_database d order by datname collate "C"
        """  # noqa: S608  two texts of our own
    with translated("listing the databases", remedy="Let the role read pg_database."):
        rows = session.connection.execute(query.encode()).fetchall()
    return [Database(*row) for row in rows]


class _AnyEncoding(Loader):
    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "backslashreplace")


def read_any_encoding(session: Session) -> None:
    """Let the session read what all databases share: the names of databases and roles, comments.

    They have the encoding of the database in which somebody wrote them, and the server converts
    none; what is not UTF-8 is escaped.
    """
    for kind in ("name", "text"):
        session.connection.adapters.register_loader(kind, _AnyEncoding)


def create(admin: Session, name: str, *, owner: str, isolate: bool, deadline: float) -> bool:
    """Create a database from template0 as UTF8, owned by ``owner``. Idempotent and race-safe.

    Returns whether it was us. With ``isolate`` PUBLIC may no longer connect to a database that we
    created. A failure in between leaves the database there and complete, open to PUBLIC. Raises
    `RefusedError` for a lacking privilege or owner, `UnreachableError` when the server goes away.
    """
    connection = admin.connection
    user = connection.info.user
    remedy = (
        f'Run ALTER ROLE "{user}" CREATEDB (and GRANT "{owner}" TO "{user}" if they differ), or '
        "set ENTRYPOINT_ADMIN_URL to a role that may create databases."
    )
    with translated(f"creating the database {name!r} as role {user!r}", remedy=remedy):
        # Outside of a transaction, so perhaps a pooler's session with somebody's path.
        found = connection.execute(
            "select from pg_catalog.pg_database where datname operator(pg_catalog.=) %s", [name]
        )
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
    except psycopg.errors.UndefinedObject as error:
        said = error.diag.message_primary
        raise RefusedError(
            f"creating the database {name!r}: {said} ({error.sqlstate})",
            remedy=f'Run CREATE ROLE "{owner}" LOGIN, or correct the owner in the registry.',
        ) from None
    except psycopg.errors.UniqueViolation as error:
        # What every loser of a race gets: the check by name came before the winner's commit.
        if error.diag.constraint_name != "pg_database_datname_index":
            raise
        return False
    return True


def _execute(admin: Session, statement: sql.Composed, deadline: float) -> None:
    """Execute CREATE DATABASE, with a plain locale if the server's own cannot hold UTF8."""
    try:
        _try(admin, statement, deadline)
    except psycopg.errors.QueryCanceled:
        if admin.connection.patience_s != math.inf and not admin.pooled:
            raise  # it was ours
        # The role's statement_timeout, which is meant for its service's queries. SET LOCAL would
        # need a transaction, in which no database can be created; and behind a pooler the session
        # is somebody else's next.
        admin.connection.execute(f"set statement_timeout = {PATIENCE_S * 1000:.0f}".encode())
        try:
            _try(admin, statement, deadline)
        finally:
            if not admin.connection.broken:
                admin.connection.execute("reset statement_timeout")


def _try(admin: Session, statement: sql.Composed, deadline: float) -> None:
    while True:
        try:
            with admin.patience(PATIENCE_S + WORD_S):
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
