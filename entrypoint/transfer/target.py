"""The service's database: find it, fill another one beside it, and swap the two."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

import psycopg
from psycopg import sql

from ..config.conninfo import suffixed
from ..errors import EntrypointError
from ..operator.server import NAME, Server
from ..postgres import transfers
from ..postgres.session import Session, translated
from ..postgres.sql import quoted
from ..postgres.transfers import REPLACED
from . import sessions
from .locks import PLAN_S
from .obstacle import Problem, final
from .plan import Plan
from .rows import both, count
from .source import MOVABLE, queried

_CALL: Final = "select pg_catalog.set_config('application_name', %s, false)"
_Words: TypeAlias = Mapping[str, Any]  # a row of pg_database
Setting: TypeAlias = tuple[str | None, str]  # the role that it is for (None for all), and its name


class Lacks(NamedTuple):
    """What the target's server does not have, and the operator agreed to do without."""

    space: bool = False  # a tablespace: everything goes to the default one
    settings: frozenset[Setting] = frozenset()  # settings that the role may not set


class Target(NamedTuple):
    """Where the objects go."""

    server: Server
    name: str
    exists: bool
    owner: str
    grants: tuple[tuple[str, str], ...]  # privileges on the replaced database, each with its role
    settings: tuple[tuple[str | None, str], ...]  # the replaced database's override the source's
    replaced: str  # the new name of the database that is there already
    scratch: str = ""  # the database that a rehearsal fills instead of the incoming one
    lacks: Lacks = Lacks()

    @property
    def incoming(self) -> str:
        """The database to fill before anybody sees it."""
        return self.scratch or suffixed(self.name, "__incoming")


def compared(session: Session, server: Server) -> tuple[bool, bool]:
    """Whether a server is the session's own, and whether the role is the same, too.

    The address does not matter; a copy or a standby is another server. Raises `RefusedError` and
    `UnreachableError`.
    """
    mark = f"{NAME}-{secrets.token_hex(8)}"
    with (
        closing(server.open()) as there,
        translated("looking whether two servers are one", remedy="Run the command again."),
    ):
        session.connection.execute(_CALL, [mark])
        with there.transaction():
            row = there.row("transfer/is_this_server", [mark])
        session.connection.execute(_CALL, [NAME])
    return row is not None, row == (True,)


def free(session: Session, name: str, suffix: str) -> str:
    """The name with the suffix, and with a number if another database has that name."""
    with translated("looking for a name", remedy="Run the command again."):
        rows = session.connection.execute("select datname from pg_catalog.pg_database").fetchall()
    there = {each for (each,) in rows}
    names = (suffix, *(f"{suffix}_{i}" for i in range(2, 999)))
    return next(each for s in names if (each := suffixed(name, s)) not in there)


def look(
    servers: tuple[Server, Server], source: Session, plan: Plan, owner: str
) -> tuple[Target, list[Problem]]:
    """Find the service's database, and whether the move may replace it: it must have no row.

    ``servers`` are the source's and the target's. Waits for a lock for `PLAN_S` seconds. Raises
    `RefusedError` and `UnreachableError`.
    """
    name, target = plan.service.database, servers[1]
    own_server, server = (replace(each, lock_timeout_s=PLAN_S) for each in servers)
    with closing(server.open()) as session:
        found = row(session, name)
        who = sessions.connected(session, name)  # before we connect to it ourselves
        replaced = free(session, name, REPLACED)
    if found is None:
        owner = plan.service.owner or owner
        return Target(target, name, False, owner, (), (), replaced), []  # noqa: FBT003  a field
    problems = [*_differences(name, found[1], row(source, source.database)[1])]
    if there := filled(server, name):
        problems += _filled(server, own_server, source, plan, there)
    if who:
        problems.append(
            final(
                "target_sessions",
                f"the transfer cannot replace {name!r} while sessions are connected to it: "
                f"{', '.join(who)}",
                "Stop the service and every other listed session.",
            )
        )
    grants = tuple((privilege, role) for privilege, role in found[2])
    own = tuple((role, setting) for role, setting in found[4])
    return Target(target, name, True, found[0], grants, own, replaced), problems  # noqa: FBT003  a field


def _filled(
    server: Server, own_server: Server, source: Session, plan: Plan, filled: list[str]
) -> Iterator[Problem]:
    """Compare the rows of the target with those that would replace them."""
    name = plan.service.database
    ours = [each for each in plan.relations if each.kind == "r"]
    here = count(own_server, source.database, oids={each.oid for each in ours})
    rows = both(here, count(server, name), {})
    known = [each for each in rows if each.source is not None or each.target is not None]
    said = [f"{each.object} {_rows(each.source)} and {_rows(each.target)}" for each in known[:10]]
    said += [f"{rest} more tables"] if (rest := len(known) - len(said)) else []
    sums = [sum(each.source or 0 for each in rows), sum(each.target or 0 for each in rows)]
    yield Problem(
        "target",
        f"the database {name!r} has rows already, in {', '.join(filled[:10])}; rows in the source "
        f"and in the target: {', '.join(said)}; in all {' and '.join(map(str, sums))}",
        "Check whether the service needs them, or agree: the transfer keeps the database under "
        "another name.",
    )
    if ours and not _any_row(own_server, source.database, plan):
        yield final(
            "empty_source",
            f"nothing that moves has a row, and the database {name!r} has: an empty one would "
            "replace it",
            f"Stop what created the empty tables in {source.database!r}, such as a replica that "
            f"still has the old DATABASE_URL, and run there: {'; '.join(_drops(plan))}.",
        )


def _rows(number: int | None) -> str:
    return "-" if number is None else str(number)


def _any_row(server: Server, database: str, plan: Plan) -> bool:
    """Whether a relation that moves may have a row: only an empty table certainly has none."""
    tables = [each for each in plan.relations if each.kind == "r"]
    if any(each.kind == "f" for each in plan.relations):
        return True  # its rows are on another server
    with closing(server.session(database)) as session:
        session.connection.execute("set row_security = off")  # an error tells more than hidden rows
        return any(_has_rows(session, each.schema, each.name) for each in tables)


def _drops(plan: Plan) -> Iterator[str]:
    """SQL that drops exactly what would move, and refuses if another object needs it."""
    words = {"v": "VIEW", "m": "MATERIALIZED VIEW", "rp": "TABLE", "S": "SEQUENCE"}
    for kinds, word in words.items():
        names = [
            each.quoted()
            for each in plan.relations
            if each.kind in kinds and each.owner_table is None and not each.partition
        ]
        if names:
            yield f"DROP {word} {', '.join(names)}"
    for kind in MOVABLE:
        if names := [each.identity for each in plan.own if each.kind == kind]:
            yield f"DROP {kind} {', '.join(names)}"


def _differences(name: str, target: _Words, source: _Words) -> Iterator[Problem]:
    """The new database has the source's encoding and collation, so that the rows stay valid."""
    now, then = _describe(target), _describe(source)
    if now != then:
        yield Problem(
            "encoding",
            f"the database {name!r} has {now}; the target gets the source's {then}",
            "Agree, or first dump and restore one of them, so that both have one encoding and "
            "locale.",
        )


def _describe(words: _Words) -> str:
    provider = {"c": "libc", "i": "icu", "b": "builtin"}.get(words.get("datlocprovider", "c"))
    locale = words.get("datlocale") or words.get("daticulocale") or words["datcollate"]
    ctype = "" if words["datctype"] == words["datcollate"] else f", ctype {words['datctype']}"
    return f"{words['encoding']} and the {provider} locale {locale}{ctype}"


def row(session: Session, name: str) -> Any:  # noqa: ANN401  a row of ``database_row``
    """The server's facts about a database; None if no database has that name."""
    with translated("looking at the target", remedy="Run the command again."):
        return session.row("transfer/database_row", [name])


class _FoundError(Exception):
    """There is a row; an error that leaves a COPY cancels it."""


def _has_rows(session: Session, schema: str, table: str) -> bool:
    # The planning of a query would run functions of the table's owner. A COPY has no plan, and it
    # refuses views.
    query = sql.SQL("copy {} to stdout").format(sql.Identifier(schema, table))
    try:
        with (
            translated("looking for rows", remedy="Run the command again."),
            session.connection.cursor() as cursor,
            cursor.copy(query) as rows,
        ):
            for _ in rows:
                raise _FoundError  # noqa: TRY301  to leave the COPY
    except _FoundError:
        return True
    return False


def filled(server: Server, name: str) -> list[str]:
    """The tables with rows."""
    with closing(server.session(name)) as session:
        tables = queried(session, "looking at the target's tables", "transfer/filled_tables")
        return [table for schema, table in tables if _has_rows(session, schema, table)]


PUBLIC_CLOSED_SINCE: Final = 15
"""Since this version the owner of a new database owns its schema public, in which PUBLIC may not
create. pg_dump since then writes every other state of it, from and to any server version."""


class Needs(NamedTuple):
    """What a superuser makes in the incoming database before anybody's objects are in it."""

    extensions: list[tuple[str, str]]  # each with its schema
    schemas: dict[str, int]  # the extensions' schemas, with their OIDs in the source
    spaces: list[str]
    tables: list[int]  # extensions' tables whose rows a dump contains, by OID in the source
    closed: bool  # whether the dump assumes that PUBLIC may not create in schema public


def creation(target: Target, like: Session, *, closed: bool) -> sql.Composed:
    """SQL that creates the incoming database like ``like``'s; ``closed`` to all but superusers."""
    words = row(like, like.database)[1]
    provider = {"i": "icu", "b": "builtin"}.get(words.get("datlocprovider", "c"))
    locale = words.get("datlocale") or words.get("daticulocale")
    options: list[sql.Composable] = [sql.SQL("connection limit 0")]
    if not closed:
        options = [sql.SQL("owner {}").format(sql.Identifier(target.owner))]
    if provider and locale:
        names = sql.SQL(provider), sql.SQL(provider)
        options.append(sql.SQL("locale_provider {} {}_locale {}").format(*names, locale))
    statement = sql.SQL(
        "create database {} template template0 encoding {} lc_collate {} lc_ctype {} {}"
    )
    own = words["encoding"], words["datcollate"], words["datctype"]
    return statement.format(sql.Identifier(target.incoming), *own, sql.SQL(" ").join(options))


def create(admin: Session, target: Target, statement: sql.Composed) -> None:
    """Create the incoming database; first remove one that a dead transfer left."""
    drop(admin, target.incoming)
    with translated(f"creating {target.incoming!r}", remedy="Let the role create databases."):
        try:
            admin.connection.execute(statement)
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            drop(admin, target.incoming)  # the dead transfer's backend went on
            admin.connection.execute(statement)
        revoke = sql.SQL("revoke connect on database {} from public")
        admin.connection.execute(revoke.format(sql.Identifier(target.incoming)))


def needs(source: Session, plan: Plan, dump_version: int) -> Needs:
    """What the restore of a plan needs, by pg_dump's major version. Raises `RefusedError`."""
    doing = "looking at extensions"
    rows = queried(source, doing, "transfer/extension_schemas", [[*plan.extensions]])
    spaces = queried(source, doing, "transfer/used_tablespaces", [[*plan.moving]])
    return Needs(
        [(name, schema) for name, schema, *_ in rows],
        {schema: oid for _, schema, oid, _ in rows if oid},
        [name for (name,) in spaces],
        [oid for *_, tables in rows for oid in tables],
        dump_version >= PUBLIC_CLOSED_SINCE,
    )


def prepare(target: Target, needs: Needs, writer: str) -> str:
    """Make what is needed, and let ``writer`` fill the rest; return the owner of schema public."""
    role, incoming = quoted(writer), quoted(target.incoming)
    made = [f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}" for schema in needs.schemas]
    made += ["REVOKE CREATE ON SCHEMA public FROM PUBLIC"] if needs.closed else []
    made += [f"CREATE EXTENSION {quoted(e)} SCHEMA {quoted(s)}" for e, s in needs.extensions]
    with (
        translated(f"preparing {target.incoming!r}", remedy="Install there what the source has."),
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
    """Give the incoming database the replaced one's privileges and, unless ``owned``, an owner."""
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
    with translated(
        "renaming the database", remedy="Stop its sessions, and run the command again."
    ):
        if target.exists:
            _rename(session, target.name, target.replaced)
            transfers.mark(session, target.name, target.replaced)
        _rename(session, target.incoming, target.name)


def _rename(session: Session, old: str, new: str) -> None:
    statement = f"alter database {quoted(old)} rename to {quoted(new)}"
    session.connection.execute(statement.encode())


def drop(admin: Session, name: str) -> None:
    """Remove a database of a transfer, and end the sessions in it."""
    statement = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    with translated(f"removing {name!r}", remedy=f"Run DROP DATABASE {quoted(name)} WITH (FORCE)."):
        admin.connection.execute(statement)


def clean(server: Server, name: str) -> str | None:
    """Remove a database after a failure; if that fails, too, return the remedy."""
    try:
        with closing(server.open()) as admin:
            drop(admin, name)
    except EntrypointError as error:
        return error.remedy
    return None


def settle(server: Server, target: Target) -> str | None:
    """Remove the replaced database if it has no row; otherwise return its name."""
    with suppress(EntrypointError):
        if not filled(server, target.replaced) and clean(server, target.replaced) is None:
            return None
    return target.replaced


def tidy(server: Server, name: str) -> None:
    """Remove the empty replaced database of a transfer that died after its commit."""
    replaced = suffixed(name, REPLACED)
    with suppress(EntrypointError), closing(server.open()) as admin:
        ours = transfers.aside_of(admin, replaced) is not None
        if ours and row(admin, name) and not filled(server, replaced):
            drop(admin, replaced)


def analyze(server: Server, name: str) -> None:
    """Analyze the tables that the planner does not know yet; a failure does no harm.

    ANALYZE runs the functions of indexes as the tables' owner.
    """
    with suppress(EntrypointError, psycopg.Error), closing(server.session(name)) as session:
        for schema, table in session.rows("transfer/unknown_statistics"):
            table_name = sql.Identifier(schema, table)
            session.connection.execute(sql.SQL("analyze {}").format(table_name))


# Settings that the server stores as lists of quoted names; one literal would be one name.
_LISTS: Final = (
    *("local_preload_libraries", "search_path", "session_preload_libraries"),
    *("shared_preload_libraries", "temp_tablespaces", "unix_socket_directories"),
)
_ROLES: Final = "select rolname::text from pg_catalog.pg_roles where rolname = any (%s)"


def configure(admin: Session, target: Target, plan: Plan) -> None:
    """Give the incoming database the source's and its own settings (ALTER DATABASE ... SET)."""
    for setting, to in _settings(admin, target, plan):
        role, name = setting
        if setting in target.lacks.settings:
            continue
        who = f"role {quoted(role)} in database" if role else "database"
        statement = f"alter {who} {quoted(target.incoming)} {to}"
        with translated(f"setting {name}", remedy="Let the role set it."):
            admin.connection.execute(statement.encode())


def refused(admin: Session, target: Target, plan: Plan, user: str) -> Mapping[Setting, str]:
    """The settings that the server would refuse to ``user``, and why; tries each and rolls back."""
    found: dict[Setting, str] = {}
    settings = [*_settings(admin, target, plan)]
    connection = admin.connection
    with translated("trying settings", remedy="Run the command again."):
        roles = [role for (role, _), _ in settings if role]
        there = {name for (name,) in connection.execute(_ROLES, [roles]).fetchall()}
        connection.execute("begin; set local lock_timeout = '1s'")
        for (role, name), to in settings:
            who = quoted(role) if role and role in there else quoted(user)
            try:
                with admin.savepoint(undone=True):
                    connection.execute(f"alter role {who} {to}".encode())
            except psycopg.errors.LockNotAvailable:
                pass  # another session sets something now
            except psycopg.Error as error:
                if connection.broken:
                    raise
                found[role, name] = error.diag.message_primary or type(error).__name__
        connection.execute("rollback")
    return found


def _settings(admin: Session, target: Target, plan: Plan) -> Iterator[tuple[Setting, str]]:
    """The source's settings, then those of the replaced database, with SQL that sets them."""
    for role, setting in (*plan.source.settings, *target.settings):
        name, _, value = setting.partition("=")
        values = _listed(value) if name.lower() in _LISTS else [value]
        literals = ", ".join(sql.Literal(each).as_string(admin.connection) for each in values)
        yield (role, name), f"set {quoted(name)} to {literals}"


def _listed(value: str) -> list[str]:
    """The names in a stored list: in quotes, which are doubled inside, or bare."""
    found = re.findall(r'\s*(?:"((?:[^"]|"")*)"|([^",]+))\s*(?:,|$)', value)
    return [name.replace('""', '"') if name else bare.strip() for name, bare in found] or [""]
