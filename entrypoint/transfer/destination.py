"""The service's database as a transfer finds it, before anything is made or replaced."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from psycopg import sql

from ..operator.server import NAME, Server
from ..postgres.session import Session, translated
from ..postgres.transfers import REPLACED, suffixed
from . import beside, sides
from .beside import PLAN_S
from .plan import Plan
from .preflight import Problem
from .source import MOVABLE

_CALL: Final = "select pg_catalog.set_config('application_name', %s, false)"

_Words: TypeAlias = Mapping[str, Any]
"""A row of pg_database."""


Setting: TypeAlias = tuple[str | None, str]
"""Of a role in the database, or of all, and its name."""


class Lacks(NamedTuple):
    """What the target's server does not have, and it was agreed to do without."""

    space: bool = False
    """A tablespace: then everything goes to the default one."""

    settings: frozenset[Setting] = frozenset()
    """What it does not let the role set."""


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

    scratch: str = ""
    """The database that a rehearsal fills instead of the incoming one."""

    lacks: Lacks = Lacks()

    @property
    def incoming(self) -> str:
        """The database that is filled before anybody sees it."""
        return self.scratch or suffixed(self.name, "__incoming")


class Found(NamedTuple):
    """How a server stands to the one of a session."""

    same: bool
    """Whether it is the same, by whatever address: neither a copy nor a standby of it is."""

    alike: bool
    """Whether it lets us in as the same role, too."""


def compared(session: Session, server: Server) -> Found:
    """Find out whether a server is the one that the session is on.

    Raises `RefusedError` and `UnreachableError`.
    """
    mark = f"{NAME}-{secrets.token_hex(8)}"
    with (
        closing(server.open()) as there,
        translated("looking whether two servers are one", remedy="Start again."),
    ):
        session.connection.execute(_CALL, [mark])
        with there.transaction():
            row = there.row("transfer/is_this_server", [mark])
        session.connection.execute(_CALL, [NAME])
    return Found(row is not None, row == (True,))


def free(session: Session, name: str, suffix: str) -> str:
    """The name with the suffix, and a number if there is a database of that name already."""
    with translated("looking for a name", remedy="Start again."):
        rows = session.connection.execute("select datname from pg_catalog.pg_database").fetchall()
    there = {each for (each,) in rows}
    names = (suffix, *(f"{suffix}_{i}" for i in range(2, 999)))
    return next(each for s in names if (each := suffixed(name, s)) not in there)


def look(
    servers: tuple[Server, Server], source: Session, plan: Plan, owner: str
) -> tuple[Target, list[Problem]]:
    """Whether there is a database already, and whether it may be replaced: it must have no row.

    ``servers`` are the source's and the target's. Waits for a lock for `PLAN_S` seconds. Raises
    `RefusedError` and `UnreachableError`.
    """
    name, target = plan.service.database, servers[1]
    own_server, server = (replace(each, lock_timeout_s=PLAN_S) for each in servers)
    with closing(server.open()) as session:
        found = row(session, name)
        who = beside.connected(session, name)  # before we are
        replaced = free(session, name, REPLACED)
    if found is None:
        owner = plan.service.owner or owner
        return Target(target, name, False, owner, (), (), replaced), []  # noqa: FBT003  a field
    problems = [*_differences(name, found[1], row(source, source.database)[1])]
    if there := filled(server, name):
        problems += _filled(server, own_server, source, plan, there)
    if who:
        problems.append(
            Problem(
                "target_sessions",
                f"somebody is connected to {name!r}, which cannot be replaced then: "
                f"{', '.join(who)}",
                "Stop the service, and whoever else is named.",
                allowable=False,
            )
        )
    grants = tuple((privilege, role) for privilege, role in found[2])
    own = tuple((role, setting) for role, setting in found[4])
    return Target(target, name, True, found[0], grants, own, replaced), problems  # noqa: FBT003  a field


def _filled(
    server: Server, own_server: Server, source: Session, plan: Plan, filled: list[str]
) -> Iterator[Problem]:
    """What is in the target, beside what would come in its place."""
    name = plan.service.database
    ours = [each for each in plan.relations if each.kind == "r"]
    here = sides.count(own_server, source.database, oids={each.oid for each in ours})
    rows = sides.both(here, sides.count(server, name), {})
    known = [each for each in rows if each.source is not None or each.target is not None]
    said = [f"{each.object} {_rows(each.source)} and {_rows(each.target)}" for each in known[:10]]
    said += [f"{rest} more tables"] if (rest := len(known) - len(said)) else []
    sums = [sum(each.source or 0 for each in rows), sum(each.target or 0 for each in rows)]
    yield Problem(
        "target",
        f"the database {name!r} has rows already, in {', '.join(filled[:10])}; rows in the source "
        f"and in the target: {', '.join(said)}; in all {' and '.join(map(str, sums))}",
        "Look whether they are needed; agree, and it is kept under another name.",
    )
    if ours and not _any_row(own_server, source.database, plan):
        yield Problem(
            "empty_source",
            f"nothing that moves has a row, and the database {name!r} has: it would be replaced by "
            "an empty one",
            f"Stop what made the empty tables in {source.database!r}, such as a replica that still "
            f"has the old DATABASE_URL, and run there: {'; '.join(_drops(plan))}.",
            allowable=False,
        )


def _rows(number: int | None) -> str:
    return "-" if number is None else str(number)


def _any_row(server: Server, database: str, plan: Plan) -> bool:
    """Whether anything that moves may have one; only what certainly has none counts as empty."""
    kinds = {each.kind for each in plan.relations}
    if "f" in kinds:
        return True  # its rows are on another server
    with closing(server.session(database)) as session:
        session.connection.execute("set row_security = off")  # an error tells more than no row
        return any(
            _has_rows(session, each.schema, each.name)
            for each in plan.relations
            if each.kind == "r"
        )


def _drops(plan: Plan) -> Iterator[str]:
    """What removes exactly what would move, and nothing that somebody else needs."""
    for kinds, word in (
        ("v", "VIEW"),
        ("m", "MATERIALIZED VIEW"),
        ("rp", "TABLE"),
        ("S", "SEQUENCE"),
    ):
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


def row(session: Session, name: str) -> Any:  # noqa: ANN401  a row of ``database_row``
    """What the server knows of a database; None if there is none of that name."""
    with translated("looking at the target", remedy="Start again."):
        return session.row("transfer/database_row", [name])


def _tables(session: Session) -> list[tuple[str, str]]:
    with translated("looking at the target's tables", remedy="Start again."):
        rows = session.rows("transfer/filled_tables")
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
