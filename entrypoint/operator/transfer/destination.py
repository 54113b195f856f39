"""The service's database as a transfer finds it, before anything is made or replaced."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final, NamedTuple, TypeAlias

from psycopg import sql

from ...postgres.session import Session, translated
from ..server import Server
from .plan import Plan
from .preflight import Problem

_DATABASE: Final = """
select pg_get_userbyid(datdba),
  to_jsonb(d) - 'datacl' || jsonb_build_object('encoding', pg_encoding_to_char(encoding)),
  coalesce((
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
where relkind = 'r' and relpersistence <> 't' and left(nspname, 3) <> 'pg_'
  and nspname <> 'information_schema' and pg_relation_size(c.oid) > 0 and not exists (
    select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
      and d.deptype = 'e')
"""


REPLACED: Final = "__replaced"

_Words: TypeAlias = Mapping[str, Any]
"""A row of pg_database."""


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
        return suffixed(self.name, "__incoming")


def suffixed(name: str, suffix: str) -> str:
    """A name with a suffix that fits into what PostgreSQL keeps of it."""
    return name.encode()[: 63 - len(suffix)].decode("utf-8", "ignore") + suffix


def free(session: Session, name: str, suffix: str) -> str:
    """The name with the suffix, and a number if there is a database of that name already."""
    with translated("looking for a name", remedy="Start again."):
        rows = session.connection.execute("select datname from pg_catalog.pg_database").fetchall()
    there = {each for (each,) in rows}
    names = (suffix, *(f"{suffix}_{i}" for i in range(2, 999)))
    return next(each for s in names if (each := suffixed(name, s)) not in there)


def look(server: Server, source: Session, plan: Plan, owner: str) -> tuple[Target, list[Problem]]:
    """Whether there is a database already, and whether it may be replaced: it must have no row."""
    name = plan.service.database
    with closing(server.open()) as session:
        found = row(session, name)
        replaced = free(session, name, REPLACED)
    if found is None:
        owner = plan.service.owner or owner
        return Target(server, name, False, owner, (), (), replaced), []  # noqa: FBT003  a field
    problems = [*_differences(name, found[1], row(source, source.database)[1])]
    if there := filled(server, name):
        tables = ", ".join(there[:10])
        problems.append(
            Problem(
                "target",
                f"the database {name!r} has rows already, in {tables}",
                "Look whether they are needed; agree, and it is kept under another name.",
            )
        )
    if sessions := found[3]:
        problems.append(
            Problem(
                "target_sessions",
                f"{sessions} sessions are connected to {name!r}, which cannot be replaced then",
                "Stop the service.",
                allowable=False,
            )
        )
    grants = tuple((privilege, role) for privilege, role in found[2])
    own = tuple((role, setting) for role, setting in found[4])
    return Target(server, name, True, found[0], grants, own, replaced), problems  # noqa: FBT003  a field


def _differences(name: str, target: _Words, source: _Words) -> Iterator[Problem]:
    """The moved database has the source's encoding and order of texts; so the rows stay valid."""
    now, then = _describe(target), _describe(source)
    if now != then:
        yield Problem(
            "encoding",
            f"the database {name!r} is {now}, the source {then}, and so will the target be",
            "Agree: or give both one encoding and locale before, by dump and restore.",
        )


def _describe(words: _Words) -> str:
    provider = {"c": "libc", "i": "icu", "b": "builtin"}.get(words.get("datlocprovider", "c"))
    locale = words.get("datlocale") or words.get("daticulocale") or words["datcollate"]
    ctype = "" if words["datctype"] == words["datcollate"] else f", ctype {words['datctype']}"
    return f"{words['encoding']} in the order of {provider}'s {locale}{ctype}"


def row(session: Session, name: str) -> Any:  # noqa: ANN401  a row of _DATABASE
    """What the server knows of a database; None if there is none of that name."""
    with translated("looking at the target", remedy="Start again."):
        return session.connection.execute(_DATABASE, [name]).fetchone()


def _tables(session: Session) -> list[tuple[str, str]]:
    with translated("looking at the target's tables", remedy="Start again."):
        rows = session.connection.execute(_FILLED).fetchall()
    return [(schema, table) for schema, table in rows]


class _FoundError(Exception):
    """There is a row: leaving a COPY by an error cancels the rest of it."""


def _has_rows(session: Session, schema: str, table: str) -> bool:
    # Unlike a query, a COPY is not planned, which would run functions of the table's owner; nor
    # does it take a view.
    query = sql.SQL("copy {} to stdout").format(sql.Identifier(schema, table))
    try:
        with (
            translated("looking for rows", remedy="Start again."),
            session.connection.cursor() as cursor,
            cursor.copy(query) as rows,
        ):
            for _ in rows:
                raise _FoundError  # noqa: TRY301  to leave the COPY
    except _FoundError:
        return True
    return False


def filled(server: Server, name: str) -> list[str]:
    """Tables with rows."""
    with closing(server.session(name)) as session:
        return [table for schema, table in _tables(session) if _has_rows(session, schema, table)]
