"""The service's database as the place where a transfer ends: made beside it, and put into place."""

from contextlib import closing, suppress
from typing import Final

import psycopg
from psycopg import sql

from ...errors import EntrypointError, TransferError
from ...postgres.session import Session, translated
from ..server import Server
from .destination import REPLACED, Target, filled, row, suffixed
from .source import quoted


def creation(target: Target, like: Session) -> sql.Composed:
    """What creates the incoming database with encoding and locale of the one ``like`` is in."""
    words = row(like, like.database)[1]
    provider = {"i": "icu", "b": "builtin"}.get(words.get("datlocprovider", "c"))
    locale = words.get("datlocale") or words.get("daticulocale")
    options = [
        sql.SQL("encoding {}").format(sql.Literal(words["encoding"])),
        sql.SQL("lc_collate {}").format(sql.Literal(words["datcollate"])),
        sql.SQL("lc_ctype {}").format(sql.Literal(words["datctype"])),
        sql.SQL("owner {}").format(sql.Identifier(target.owner)),
    ]
    if provider and locale:
        name = sql.SQL("icu_locale" if provider == "icu" else "builtin_locale")
        options.append(sql.SQL("locale_provider {}").format(sql.SQL(provider)))
        options.append(sql.SQL("{} {}").format(name, sql.Literal(locale)))
    incoming = sql.Identifier(target.incoming)
    statement = sql.SQL("create database {} template template0 {}")
    return statement.format(incoming, sql.SQL(" ").join(options))


def create(admin: Session, target: Target, statement: sql.Composed) -> None:
    """Create the incoming database; one that a dead transfer left is removed first."""
    drop(admin, target.incoming)
    with translated(f"creating {target.incoming!r}", remedy="Let the role create databases."):
        try:
            admin.connection.execute(statement)
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            drop(admin, target.incoming)  # the dead one's server session had not noticed yet
            admin.connection.execute(statement)
    restrict(admin, target)


def restrict(admin: Session, target: Target) -> None:
    """Close the incoming database to everybody but who could connect to the one it replaces."""
    incoming = sql.Identifier(target.incoming)
    with translated(f"restricting {target.incoming!r}", remedy="Let the role own databases."):
        revoke = sql.SQL("revoke connect on database {} from public")
        admin.connection.execute(revoke.format(incoming))
        for privilege, role in target.grants:
            grant = f"grant {privilege} on database {quoted(target.incoming)} to {role}"
            admin.connection.execute(grant.encode())


def swap(session: Session, target: Target) -> None:
    """Rename the incoming database into its place, in the session's transaction."""
    rename = "alter database {} rename to {}"
    with translated("renaming the database", remedy="Stop what is connected to it; run it again."):
        if target.exists:
            _rename(session, rename, target.name, target.replaced)
        _rename(session, rename, target.incoming, target.name)


def _rename(session: Session, statement: str, old: str, new: str) -> None:
    session.connection.execute(statement.format(quoted(old), quoted(new)).encode())


def drop(admin: Session, name: str) -> None:
    """Remove a database of a transfer's, whoever is connected to it."""
    statement = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    with translated(f"removing {name!r}", remedy=f"Run DROP DATABASE {quoted(name)} WITH (FORCE)."):
        admin.connection.execute(statement)


def clean(server: Server, name: str) -> str | None:
    """Remove a database after a failure; what must be done by hand where that fails too."""
    try:
        with closing(server.open()) as admin:
            drop(admin, name)
    except EntrypointError as error:
        return error.remedy
    return None


def settle(server: Server, target: Target) -> str | None:
    """Remove the replaced database if nobody put a row into it; else say that it is still there."""
    with suppress(EntrypointError):
        if not filled(server, target.replaced):
            with closing(server.open()) as admin:
                drop(admin, target.replaced)
            return None
    return target.replaced


def tidy(server: Server, name: str) -> None:
    """Remove the replaced database of a transfer that was killed after its commit."""
    replaced = suffixed(name, REPLACED)
    with suppress(EntrypointError), closing(server.open()) as admin:
        if row(admin, replaced) and row(admin, name) and not filled(server, replaced):
            drop(admin, replaced)


# Restored statistics leave nothing to do but for extended ones, which no dump holds.
_UNKNOWN: Final = """
select nspname, relname from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = relnamespace
where relkind in ('r', 'm') and relpersistence <> 't' and left(nspname, 3) <> 'pg_'
  and nspname <> 'information_schema' and (exists (
    select from pg_catalog.pg_statistic_ext where stxrelid = c.oid)
  or pg_relation_size(c.oid) > 0 and not exists (
    select from pg_catalog.pg_stats where schemaname = nspname and tablename = relname))
"""


def analyze(target: Target) -> None:
    """Let the planner know the tables that it does not know yet; nothing depends on it."""
    with (
        suppress(EntrypointError, psycopg.Error),
        closing(target.server.session(target.name)) as session,
    ):
        for schema, table in session.connection.execute(_UNKNOWN).fetchall():
            name = sql.Identifier(schema, table)
            session.connection.execute(sql.SQL("analyze {}").format(name))


def require_direct(session: Session) -> None:
    """Raise `TransferError` behind a pooler, where neither lock nor snapshot would hold."""
    if session.pooled:
        raise TransferError(
            "a pooler stands between, through which no snapshot can be shared",
            remedy="Name the server itself by --server.",
        )
