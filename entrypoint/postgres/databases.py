"""The databases of a server: which there are, and how one is created."""

import math
import time
from typing import Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from .. import log
from .session import PATIENCE_S, WORD_S, Session, quoted, translated
from .sql import load_sql

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
    knows = session.server_version >= _COLLATION_SINCE
    stale = load_sql("postgres/collation_stale") if knows else "false"
    query = load_sql("postgres/databases").format(stale=stale)
    with translated("listing the databases", remedy="Let the role read pg_database."):
        rows = session.connection.execute(query).fetchall()
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


def acts_as(session: Session, role: str) -> str:
    """The role that owns what this role makes: itself, or what ALTER ROLE ... SET role says.

    A superuser's is himself: our sessions of his go back to his own role.

    Raises `RefusedError` and `UnreachableError`.
    """
    with translated("asking which role it acts as", remedy="Start again."), session.transaction():
        row = session.row("postgres/acting_role", [role, role])
    return str(row[0]) if row and row[0] else role


def create(admin: Session, name: str, *, owner: str, isolate: bool, deadline: float) -> bool:
    """Create a database from template0 as UTF8, owned by ``owner``. Idempotent and race-safe.

    Returns whether it was us. With ``isolate`` PUBLIC may no longer connect to a database that we
    created. A failure in between leaves the database there and complete, open to PUBLIC. Raises
    `RefusedError` for what the server refuses, with what mends it, and `UnreachableError` when the
    server goes away or lacks something for a while.
    """
    connection = admin.connection
    # Outside of a transaction, so perhaps a pooler's session with somebody's path.
    doing = f"creating the database {name!r} as role {connection.info.user!r}"
    with translated(doing, remedy="Start again."):
        found = connection.execute(
            "select from pg_catalog.pg_database where datname operator(pg_catalog.=) %s", [name]
        )
        if found.fetchone() is not None:
            return False
    try:
        if not _create(admin, name, owner, deadline):
            return False
    except psycopg.Error as error:
        user, remedy = _mend(admin, name, owner, error.sqlstate)
        with translated(f"creating the database {name!r} as role {user!r}", remedy=remedy):
            raise
    if isolate:
        # A newer database inherits CONNECT for everybody, and six services share the server.
        revoke = closing(name)
        remedy = f"Run {revoke.as_string()} as {quoted(owner)}: it is there, and complete."
        with translated(f"closing the new database {name!r} to PUBLIC", remedy=remedy):
            connection.execute(revoke)
    return True


def creation(name: str, owner: str | None) -> sql.Composed:
    """What creates a database; without an owner it is whose session it is."""
    statement = sql.SQL("create database {} template template0 encoding 'UTF8'").format(
        sql.Identifier(name)
    )
    return statement + sql.SQL(" owner {}").format(sql.Identifier(owner)) if owner else statement


def closing(name: str) -> sql.Composed:
    """What keeps every role from connecting to a database that was not let in."""
    return sql.SQL("revoke connect on database {} from public").format(sql.Identifier(name))


def _create(admin: Session, name: str, owner: str, deadline: float) -> bool:
    try:
        _execute(admin, creation(name, owner), deadline)
    except psycopg.errors.DuplicateDatabase:
        return False
    except psycopg.errors.UniqueViolation as error:
        # What every loser of a race gets: the check by name came before the winner's commit.
        if error.diag.constraint_name != "pg_database_datname_index":
            raise
        return False
    return True


# What CREATE DATABASE raises in dbcommands.c, and what poolers and managed servers do.
_MENDS: Final = {
    "42704": "Run CREATE ROLE {owner} LOGIN, or correct the owner in the registry.",
    "3D000": "Run CREATE DATABASE template0 TEMPLATE template1 IS_TEMPLATE true ALLOW_CONNECTIONS "
    "false, or have a cluster made with one.",
    "55000": "Run UPDATE pg_database SET datistemplate = false WHERE datname = 'template0'; DROP "
    "DATABASE template0; CREATE DATABASE template0 TEMPLATE template1 IS_TEMPLATE true "
    "ALLOW_CONNECTIONS false, or have a cluster made with one that is whole.",
    "55006": "End the sessions in template0 (pg_stat_activity names them), and let nobody connect "
    "to it: ALTER DATABASE template0 ALLOW_CONNECTIONS false.",
    "22023": "Create it yourself with a locale that can hold UTF8: {by_hand}",
    "0A000": "What answers there creates no database by SQL. Create it with its own tools for the "
    "owner {owner}, or set ENTRYPOINT_ADMIN_URL to a connection past the pooler.",
    "25001": "A pooler puts statements into a transaction, where no database can be created. Set "
    "ENTRYPOINT_ADMIN_URL to a connection past it.",
    "25006": "Point ENTRYPOINT_ADMIN_URL at a server that accepts writes.",
    "58P01": "Read the server's log: files of template0 are missing on its disk.",
    "58030": "Read the server's log: it cannot read or write on its disk.",
}

_BY_HAND: Final = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' OWNER {}"

_OTHERWISE: Final = (
    "Do what the server's words ask for, or create it yourself: {by_hand}; or set "
    "ENTRYPOINT_ADMIN_URL to a role that may create databases."
)

_SET_SINCE: Final = 160000
"""The first server version in which being a member need not mean that one may act as the role."""


def _mend(admin: Session, name: str, owner: str, code: str | None) -> tuple[str, str]:
    """Who could not create it, and what mends that."""
    user = admin.connection.info.user
    if code == "42501":
        return _allow(admin, owner)
    by_hand = sql.SQL(_BY_HAND).format(sql.Identifier(name), sql.Identifier(owner)).as_string()
    remedy = _MENDS.get(code or "", _OTHERWISE)
    return user, remedy.format(owner=quoted(owner), by_hand=by_hand)


def _allow(admin: Session, owner: str) -> tuple[str, str]:
    """Who lacks which right, as the catalog has it: who acts may be another than who logged in."""
    means = "'set'" if admin.server_version >= _SET_SINCE else "'member'"
    with translated("asking for the role's rights", remedy="Start again."), admin.transaction():
        query = sql.SQL(load_sql("postgres/rights_to_create")).format(sql.SQL(means))
        row = admin.connection.execute(query, [owner]).fetchone()
    user, creates, acts, template = row or (admin.connection.info.user, False, False, True)
    steps = [] if creates else [f"ALTER ROLE {quoted(user)} CREATEDB"]
    if acts is False:
        steps.append(f"GRANT {quoted(owner)} TO {quoted(user)}")
    if template is False:
        steps.append("ALTER DATABASE template0 IS_TEMPLATE true")
    if not steps:
        return user, "Let the role create databases: the server, or who manages it, forbids it."
    return user, (
        f"Run {'; '.join(steps)}, or set ENTRYPOINT_ADMIN_URL to a role that may create databases."
    )


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
