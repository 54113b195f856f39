"""The service's database as the place where a transfer ends: made beside it, and put into place."""

from contextlib import closing, suppress
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from ...errors import EntrypointError, TransferError
from ...postgres.session import Session, translated
from ..server import Server
from .plan import Plan
from .preflight import Problem
from .source import quoted

_DATABASE: Final = """
select pg_get_userbyid(datdba), to_jsonb(d) - 'datacl', coalesce((
    select json_agg(json_build_array(privilege_type, grantee::regrole::text))
    from aclexplode(datacl) where grantee <> 0 and grantee <> datdba), '[]'),
  (select count(*) from pg_catalog.pg_stat_activity a where a.datid = d.oid),
  coalesce((select json_agg(json_build_array(rolname, setting)) from pg_catalog.pg_db_role_setting
    cross join unnest(setconfig) as each (setting)
    left join pg_catalog.pg_roles r on r.oid = setrole where setdatabase = d.oid), '[]')
from pg_catalog.pg_database d where datname = %s
"""

_FILLED: Final = """
select n.nspname, c.relname from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = relnamespace
where relkind in ('r', 'm') and relpersistence <> 't' and left(nspname, 3) <> 'pg_'
  and nspname <> 'information_schema' and pg_relation_size(c.oid) > 0 and not exists (
    select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
      and d.deptype = 'e')
"""


REPLACED: Final = "__replaced"


class Target(NamedTuple):
    """Where the objects go."""

    server: Server
    name: str
    exists: bool
    owner: str
    grants: tuple[tuple[str, str], ...]
    """Privileges on the database that is replaced, and to whom."""

    settings: tuple[tuple[str | None, str], ...]
    """Those of the database that is replaced; they come on top of the source's."""

    replaced: str
    """What the database that is there already is called when it is replaced."""

    @property
    def incoming(self) -> str:
        """The database that is filled before anybody sees it."""
        return _suffixed(self.name, "__incoming")


def _suffixed(name: str, suffix: str) -> str:
    return name.encode()[: 63 - len(suffix)].decode("utf-8", "ignore") + suffix


def free(session: Session, name: str, suffix: str) -> str:
    """The name with the suffix, and a number if there is a database of that name already."""
    with translated("looking for a name", remedy="Start again."):
        rows = session.connection.execute("select datname from pg_catalog.pg_database").fetchall()
    there = {each for (each,) in rows}
    names = (suffix, *(f"{suffix}_{i}" for i in range(2, 999)))
    return next(each for s in names if (each := _suffixed(name, s)) not in there)


def look(server: Server, plan: Plan, owner: str) -> tuple[Target, list[Problem]]:
    """Whether there is a database already, and whether it may be replaced: it must have no row."""
    name = plan.service.database
    with closing(server.open()) as session:
        row = _row(session, name)
        replaced = free(session, name, REPLACED)
    if row is None:
        owner = plan.service.owner or owner
        return Target(server, name, False, owner, (), (), replaced), []  # noqa: FBT003  a field
    problems = []
    if filled := _filled(server, name):
        tables = ", ".join(filled[:10])
        problems.append(
            Problem(
                "target",
                f"the database {name!r} has rows already, in {tables}",
                "Look whether they are needed; agree, and it is kept under another name.",
            )
        )
    if sessions := row[3]:
        problems.append(
            Problem(
                "target_sessions",
                f"{sessions} sessions are connected to {name!r}, which cannot be replaced then",
                "Stop the service.",
                allowable=False,
            )
        )
    grants = tuple((privilege, role) for privilege, role in row[2])
    own = tuple((role, setting) for role, setting in row[4])
    return Target(server, name, True, row[0], grants, own, replaced), problems  # noqa: FBT003  a field


def _row(session: Session, name: str) -> Any:  # noqa: ANN401  a row of _DATABASE
    with translated("looking at the target", remedy="Start again."):
        return session.connection.execute(_DATABASE, [name]).fetchone()


def _tables(session: Session) -> list[tuple[str, str]]:
    with translated("looking at the target's tables", remedy="Start again."):
        rows = session.connection.execute(_FILLED).fetchall()
    return [(schema, table) for schema, table in rows]


def _has_rows(session: Session, schema: str, table: str) -> bool:
    query = sql.SQL("select exists (select from {})").format(sql.Identifier(schema, table))
    with translated("looking for rows", remedy="Start again."):
        row = session.connection.execute(query).fetchone()
    return bool(row and row[0])


def creation(target: Target, like: Session) -> sql.Composed:
    """What creates the incoming database with encoding and locale of the one ``like`` is in."""
    row = _row(like, like.database)
    words = row[1]
    provider = {"i": "icu", "b": "builtin"}.get(words.get("datlocprovider", "c"))
    locale = words.get("datlocale") or words.get("daticulocale")
    options = [
        sql.SQL("encoding {}").format(sql.Literal(_encoding(like))),
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


def _encoding(session: Session) -> str:
    row = session.connection.execute("show server_encoding").fetchone()
    return str(row[0]) if row else "UTF8"


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
        if not _filled(server, target.replaced):
            with closing(server.open()) as admin:
                drop(admin, target.replaced)
            return None
    return target.replaced


def tidy(server: Server, name: str) -> None:
    """Remove the replaced database of a transfer that was killed after its commit."""
    replaced = _suffixed(name, REPLACED)
    with suppress(EntrypointError), closing(server.open()) as admin:
        if _row(admin, replaced) and _row(admin, name) and not _filled(server, replaced):
            drop(admin, replaced)


def _filled(server: Server, name: str) -> list[str]:
    """Tables with rows."""
    with closing(server.session(name)) as session:
        return [table for schema, table in _tables(session) if _has_rows(session, schema, table)]


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
