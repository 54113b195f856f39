"""The service's database as the place where a transfer ends: made beside it, and put into place."""

from contextlib import closing, suppress
from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from ..errors import EntrypointError, TransferError
from ..operator.server import Server
from ..postgres import transfers
from ..postgres.session import Session, quoted, translated
from ..postgres.transfers import REPLACED, suffixed
from .destination import Target, filled, row
from .plan import Plan

PUBLIC_CLOSED_SINCE: Final = 15
"""Since this version not everybody may create in schema public of a new database, which belongs to
the database's owner, and pg_dump says what is otherwise there, from and to whatever version."""


class Needs(NamedTuple):
    """What a superuser makes in the incoming database while nothing of anybody's is in it."""

    extensions: list[tuple[str, str]]
    """With the schema of each."""

    schemas: dict[str, int]
    """Schemas for them, with their OIDs in the source."""

    spaces: list[str]
    """Tablespaces."""

    tables: list[int]
    """Those of extensions whose rows a dump holds, by their OIDs in the source."""

    closed: bool
    """Whether the dump takes for granted that not everybody may create in schema public."""


def creation(target: Target, like: Session, *, closed: bool) -> sql.Composed:
    """What creates the incoming database with encoding and locale of the one ``like`` is in.

    A ``closed`` one is the creator's, and lets in superusers only.
    """
    words = row(like, like.database)[1]
    provider = {"i": "icu", "b": "builtin"}.get(words.get("datlocprovider", "c"))
    locale = words.get("datlocale") or words.get("daticulocale")
    options: list[sql.Composable] = [
        sql.SQL("encoding {}").format(sql.Literal(words["encoding"])),
        sql.SQL("lc_collate {}").format(sql.Literal(words["datcollate"])),
        sql.SQL("lc_ctype {}").format(sql.Literal(words["datctype"])),
    ]
    if closed:
        options.append(sql.SQL("connection limit 0"))
    else:
        options.append(sql.SQL("owner {}").format(sql.Identifier(target.owner)))
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
        revoke = sql.SQL("revoke connect on database {} from public")
        admin.connection.execute(revoke.format(sql.Identifier(target.incoming)))


def needs(source: Session, plan: Plan, dump_version: int) -> Needs:
    """What the restore of what the plan moves takes for granted. Raises `RefusedError`.

    ``dump_version`` is pg_dump's major version.
    """
    with translated("looking at extensions", remedy="Start again."):
        rows = source.rows("transfer/extension_schemas", [[*plan.extensions]])
        spaces = source.rows("transfer/used_tablespaces", [[*plan.moving]])
        tables = source.rows("transfer/extension_tables", [[*plan.extensions]])
    schemas = {schema: oid for _, schema, oid in rows if oid}
    extensions = [(name, schema) for name, schema, _ in rows]
    closed = dump_version >= PUBLIC_CLOSED_SINCE
    return Needs(
        extensions, schemas, [name for (name,) in spaces], [oid for (oid,) in tables], closed
    )


def prepare(target: Target, needs: Needs, writer: str) -> str:
    """Make what is needed, and let a writer that is not the session's role fill the rest.

    Returns the owner of schema public.
    """
    role, incoming = quoted(writer), quoted(target.incoming)
    made = [f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}" for schema in needs.schemas]
    made += ["REVOKE CREATE ON SCHEMA public FROM PUBLIC"] if needs.closed else []
    made += [f"CREATE EXTENSION {quoted(e)} SCHEMA {quoted(s)}" for e, s in needs.extensions]
    with (
        translated(f"preparing {target.incoming!r}", remedy="Install what the source has."),
        closing(target.server.session(target.incoming)) as session,
    ):
        connection = session.connection
        for statement in made:
            connection.execute(statement.encode())
        [(public,)] = connection.execute(
            "select pg_get_userbyid(nspowner)::text from pg_namespace where nspname = 'public'"
        ).fetchall()
        grants = [each for (each,) in session.rows("transfer/wrappers_to_grant")]
        spaces = [] if target.lacks.space else needs.spaces
        grants += [f"CREATE ON TABLESPACE {quoted(each)}" for each in spaces]
        grants.append(f"CONNECT, CREATE, TEMPORARY ON DATABASE {incoming}")
        given = [f"GRANT {each} TO {role}" for each in grants]
        owned = ["public", *needs.schemas]
        given += [f"ALTER SCHEMA {quoted(each)} OWNER TO {role}" for each in owned]
        given.append(f"ALTER DATABASE {incoming} CONNECTION LIMIT -1")
        connection.execute("; ".join(given).encode())
    return str(public)


def open_up(admin: Session, target: Target, *, owned: bool) -> None:
    """Let in who may connect to the database that is replaced, and give it to its owner."""
    incoming = quoted(target.incoming)
    with translated(f"opening {target.incoming!r}", remedy="Let the role own databases."):
        statements = [] if owned else [f"ALTER DATABASE {incoming} OWNER TO {quoted(target.owner)}"]
        statements += [
            f"GRANT {right} ON DATABASE {incoming} TO {to}" for right, to in target.grants
        ]
        if statements:
            admin.connection.execute("; ".join(statements).encode())


def swap(session: Session, target: Target) -> None:
    """Rename the incoming database into its place, in the session's transaction."""
    rename = "alter database {} rename to {}"
    with translated("renaming the database", remedy="Stop what is connected to it; run it again."):
        if target.exists:
            _rename(session, rename, target.name, target.replaced)
            transfers.mark(session, target.name, target.replaced)
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
        ours = transfers.aside_of(admin, replaced) is not None
        if ours and row(admin, name) and not filled(server, replaced):
            drop(admin, replaced)


def analyze(server: Server, name: str) -> None:
    """Let the planner know the tables that it does not know yet; nothing depends on it.

    The functions of indexes are run by that as the tables' owner.
    """
    with suppress(EntrypointError, psycopg.Error), closing(server.session(name)) as session:
        for schema, table in session.rows("transfer/unknown_statistics"):
            table_name = sql.Identifier(schema, table)
            session.connection.execute(sql.SQL("analyze {}").format(table_name))


def require_direct(session: Session) -> None:
    """Raise `TransferError` behind a pooler, where neither lock nor snapshot would hold."""
    if session.pooled:
        raise TransferError(
            "a pooler stands between, through which no snapshot can be shared",
            remedy="Name the server itself by --server.",
        )
