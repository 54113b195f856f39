"""The databases of a server: list them, create one."""

import math
import time
from typing import Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from .. import log
from .opening import PATIENCE_S
from .session import WORD_S, Session, translated
from .sql import load_sql, quoted

RETRY_S: Final = 0.5  # seconds between two tries while another session uses the template
_COLLATION_SINCE: Final = 150000  # the first server version that records a collation's version


class Database(NamedTuple):
    """A row of pg_database."""

    name: str
    owner: str
    encoding: str
    template: bool
    public_may_connect: bool
    size_bytes: int | None  # None if the role may not ask
    collation_stale: bool  # whether another version of the C library or of ICU sorted its texts
    comment: str | None  # it contains the ledger


def find(session: Session) -> list[Database]:
    """List all databases by name. Raises `RefusedError` and `UnreachableError`."""
    knows = session.server_version >= _COLLATION_SINCE
    stale = load_sql("postgres/collation_stale") if knows else "false"
    query = load_sql("postgres/databases").format(stale=stale)
    # In a transaction of ours: outside of one, a pooler's session may have any search_path, and a
    # stranger's function of the same name in it would run as our role.
    doing = "listing the databases"
    with translated(doing, remedy="Let the role read pg_database."), session.transaction():
        rows = session.connection.execute(query).fetchall()
    return [Database(*row) for row in rows]


class _AnyEncoding(Loader):
    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "backslashreplace")


def read_any_encoding(session: Session) -> None:
    """Let the session read names and comments of other databases: escape all that is not UTF-8.

    Such a text has the encoding of the database in which somebody wrote it; the server does not
    convert it.
    """
    for kind in ("name", "text"):
        session.connection.adapters.register_loader(kind, _AnyEncoding)


def acts_as(session: Session, role: str) -> str:
    """The role that owns what ``role`` creates: the role of ALTER ROLE ... SET role, else itself.

    A superuser acts as itself, because a session of ours resets a superuser's role
    (session_begin.sql). Raises `RefusedError` and `UnreachableError`.
    """
    with translated("asking for the acting role", remedy="Start again."), session.transaction():
        row = session.row("postgres/acting_role", [role, role])
    return str(row[0]) if row and row[0] else role


def create(admin: Session, name: str, *, owner: str, isolate: bool, deadline: float) -> bool:
    """Create a database from template0 as UTF8, owned by ``owner``. Idempotent and race-safe.

    Returns whether this call created it. With ``isolate`` PUBLIC may not connect to a database that
    this call created; a failure in between leaves the database complete and open to PUBLIC. Tries
    again until ``deadline`` (`time.monotonic`) while another session uses the template. Raises
    `RefusedError` with a remedy, or `UnreachableError` if the server goes away or lacks something
    for a while.
    """
    connection = admin.connection
    # Qualified names: outside of a transaction a pooler's session may have any search_path.
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
        # PUBLIC may connect to a new database, and several services share the server.
        revoke = closing(name)
        remedy = f"Run {revoke.as_string()} as {quoted(owner)}; the database itself is complete."
        doing = f"closing the new database {name!r} to PUBLIC"
        # In a transaction, which replaces the role's own statement_timeout.
        with translated(doing, remedy=remedy), admin.transaction(timeout_s=PATIENCE_S):
            connection.execute(revoke)
    return True


def creation(name: str, owner: str | None) -> sql.Composed:
    """The statement that creates a database; without ``owner`` the session's role owns it."""
    statement = sql.SQL("create database {} template template0 encoding 'UTF8'").format(
        sql.Identifier(name)
    )
    return statement + sql.SQL(" owner {}").format(sql.Identifier(owner)) if owner else statement


def closing(name: str) -> sql.Composed:
    """The statement after which a role needs a CONNECT of its own."""
    return sql.SQL("revoke connect on database {} from public").format(sql.Identifier(name))


def _create(admin: Session, name: str, owner: str, deadline: float) -> bool:
    try:
        _execute(admin, creation(name, owner), deadline)
    except psycopg.errors.DuplicateDatabase:
        return False
    except psycopg.errors.UniqueViolation as error:
        # The losers of a race get this: they looked for the name before the winner committed.
        if error.diag.constraint_name != "pg_database_datname_index":
            raise
        return False
    return True


# SQLSTATEs that CREATE DATABASE raises in dbcommands.c, and those of poolers and managed servers.
_MENDS: Final = {
    "42704": "Run CREATE ROLE {owner} LOGIN, or correct the owner in the registry.",
    "3D000": "Run CREATE DATABASE template0 TEMPLATE template1 IS_TEMPLATE true ALLOW_CONNECTIONS "
    "false, or create a new cluster.",
    "55000": "Run UPDATE pg_database SET datistemplate = false WHERE datname = 'template0'; DROP "
    "DATABASE template0; CREATE DATABASE template0 TEMPLATE template1 IS_TEMPLATE true "
    "ALLOW_CONNECTIONS false, or create a new cluster.",
    "55006": "End the sessions in template0 (pg_stat_activity lists them), and run ALTER DATABASE "
    "template0 ALLOW_CONNECTIONS false.",
    "22023": "Create the database yourself with a locale that supports UTF8: {by_hand}",
    "0A000": "The server or the pooler cannot run CREATE DATABASE. Create the database with its "
    "own tools for the owner {owner}, or set ENTRYPOINT_ADMIN_URL to a connection that bypasses "
    "the pooler.",
    "25001": "A pooler wraps each statement in a transaction, in which CREATE DATABASE cannot run. "
    "Set ENTRYPOINT_ADMIN_URL to a connection that bypasses the pooler.",
    "25006": "Point ENTRYPOINT_ADMIN_URL at a server that accepts writes.",
    "58P01": "Read the server's log: files of template0 are missing on its disk.",
    "58030": "Read the server's log: it cannot read or write on its disk.",
}

_BY_HAND: Final = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' OWNER {}"

_OTHERWISE: Final = (
    "Follow the server's message, or create the database yourself: {by_hand}; or set "
    "ENTRYPOINT_ADMIN_URL to a role that may create databases."
)

_SET_SINCE: Final = 160000  # the first version in which a member of a role may lack SET ROLE


def _mend(admin: Session, name: str, owner: str, code: str | None) -> tuple[str, str]:
    """The role that could not create the database, and the remedy."""
    user = admin.connection.info.user
    if code == "42501":
        return _allow(admin, owner)
    by_hand = sql.SQL(_BY_HAND).format(sql.Identifier(name), sql.Identifier(owner)).as_string()
    remedy = _MENDS.get(code or "", _OTHERWISE)
    return user, remedy.format(owner=quoted(owner), by_hand=by_hand)


def _allow(admin: Session, owner: str) -> tuple[str, str]:
    """The role that lacks a right, and the remedy; this role may differ from the login role."""
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
        return user, "Ask the provider of the server to let the role create databases."
    return user, (
        f"Run {'; '.join(steps)}, or set ENTRYPOINT_ADMIN_URL to a role that may create databases."
    )


def _execute(admin: Session, statement: sql.Composed, deadline: float) -> None:
    try:
        _try(admin, statement, deadline)
    except psycopg.errors.QueryCanceled:
        if admin.connection.patience_s != math.inf and not admin.pooled:
            raise  # our own statement_timeout
        # The role's own statement_timeout, set for the service's queries, ended the statement. SET
        # LOCAL needs a transaction, and CREATE DATABASE runs in none; RESET, because a pooler hands
        # the session to its next client.
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
        except psycopg.errors.ObjectInUse:  # the template; the server has waited 5 s
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)
            continue
        return
