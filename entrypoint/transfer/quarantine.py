"""Quarantines: schemas that keep moved objects until a removal, one for each schema of origin."""

import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any, Final

from psycopg import sql

from ..errors import TransferError
from ..postgres.quarantine import MARK, Quarantine, find
from ..postgres.session import Session
from ..postgres.sql import load_sql, quoted
from . import locks
from .locks import BATCH, TIMEOUT_S, batches
from .plan import Plan
from .source import queried

MAX_NAME: Final = 63
_REMOVED: Final = "removed"  # in the comment of a quarantine whose removal in parts has begun


def fill(session: Session, plan: Plan, more: Mapping[str, str]) -> dict[str, str]:
    """Move the plan's objects into quarantine, in the session's open transaction.

    ``more`` are `Note`'s ``where`` and ``replaced``. Returns the quarantine of each schema of
    origin. Blocks for the locks; an error moves nothing.
    """
    # The microseconds tell the moves of one service apart.
    more = {"at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), **more}
    schemas: dict[str, str] = {}
    connection = session.connection
    parts = {
        "relations": [each.oid for each in plan.relations],
        "types": [each.key[1] for each in plan.own if each.kind == "TYPE"],
    }
    moves = [row[:3] for row in session.rows("transfer/parts_to_move", parts)]
    # An owned sequence follows its table.
    alone = (each for each in plan.relations if each.owner_table is None)
    moves += [(each.sql_kind(), each.quoted(), each.schema) for each in alone]
    # A cast has no schema of its own; it follows its types.
    moves += [(each.kind, each.identity, each.schema) for each in plan.own if each.kind != "CAST"]
    statements = []
    for kind, name, origin in sorted(moves, key=_functions_first):
        if origin not in schemas:
            schemas[origin] = _create(session, plan, origin, more)
        statements.append(f"ALTER {kind} {name} SET SCHEMA {quoted(schemas[origin])}")
    locks.in_batches(session, statements)
    # The server checks a foreign key as the owner of the table that it references.
    for origin, owner in sorted({(each.schema, each.owner) for each in plan.relations}):
        grant = f"GRANT USAGE ON SCHEMA {quoted(schemas[origin])} TO {quoted(owner)}"
        connection.execute(grant.encode())
    return schemas


def _functions_first(move: Sequence[str]) -> bool:
    """ALTER names these with their argument types, which must still be in their old schema."""
    return move[0] not in ("FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR")


def _create(session: Session, plan: Plan, origin: str, more: Mapping[str, str]) -> str:
    base = f"moved_{plan.service.database}_{origin}".encode()[: MAX_NAME - 4].decode(
        "utf-8", "ignore"
    )
    connection = session.connection
    like = "select nspname::text from pg_namespace where starts_with(nspname, %s)"
    taken = {each for (each,) in connection.execute(like, [base]).fetchall()}
    name = next(n for n in (base, *(f"{base}_{i}" for i in range(2, 999))) if n not in taken)
    connection.execute(sql.SQL("create schema {}").format(sql.Identifier(name)))
    service = plan.service
    note = {"service": service.name, "database": service.database, "origin": origin, **more}
    _comment(session, name, note)
    return name


def _comment(session: Session, schema: str, note: Mapping[str, object]) -> None:
    comment = sql.SQL("comment on schema {} is {}")
    text = sql.Literal(MARK + json.dumps(note))
    session.connection.execute(comment.format(sql.Identifier(schema), text))


def require_ours(session: Session, found: Collection[Quarantine], database: str) -> None:
    """Raise `TransferError` for a quarantine that its owner may have forged for us to move."""
    asked = {
        "schemas": [each.schema for each in found],
        "origins": [each.origin for each in found],
        "database": database,
    }
    rows = queried(session, "looking at the quarantine", "transfer/doubtful_quarantines", asked)
    for schema, owner in rows:
        raise TransferError(
            f"the schema {schema!r} claims to be a quarantine, but its owner {owner!r} could not "
            "put everything back without more rights; nothing was changed",
            remedy=f"If {owner!r} moved the service, run ALTER SCHEMA {quoted(schema)} OWNER TO "
            "CURRENT_USER as a superuser, and run the command again as that one; if not, check "
            f"what is in the schema, and run DROP SCHEMA {quoted(schema)} CASCADE.",
            schema=schema,
        )


def empty(session: Session, quarantine: Quarantine) -> int:
    """Move everything back to its schema of origin, in the session's open transaction.

    Returns the number of objects. Raises `TransferError` if a removal has begun.
    """
    connection = session.connection
    removed = (
        "select obj_description(oid, 'pg_namespace') like %s from pg_namespace where nspname = %s"
    )
    params = [f'%"{_REMOVED}": true}}', quarantine.schema]
    if connection.execute(removed, params).fetchone() == (True,):
        raise TransferError(
            f"the undo cannot put {quarantine.schema!r} back: its removal has begun",
            remedy="Run --drop-quarantine again, which removes the rest.",
        )
    rows = session.rows("transfer/quarantined_objects", {"schema": quarantine.schema})
    back = f"SET SCHEMA {quoted(quarantine.origin)}"
    ordered = sorted(rows, key=_functions_first)
    locks.in_batches(session, [f"ALTER {kind} {name} {back}" for kind, name in ordered])
    connection.execute(f"DROP SCHEMA {quoted(quarantine.schema)}".encode())
    return len(rows)


def locks_to_empty(session: Session, quarantines: Collection[Quarantine]) -> int:
    """The number of locks that moving everything back takes."""
    asked = [[each.schema for each in quarantines]]
    [(number,)] = queried(
        session, "looking at the quarantine", "transfer/locks_to_move_back", asked
    )
    return int(number)


def _spaces(session: Session, schemas: Collection[str]) -> dict[str, object]:
    doing = "looking at the quarantine"
    [(away,)] = queried(session, doing, "transfer/quarantines_oids", [MARK])
    return {"schemas": list(schemas), "away": away}


def pointing(session: Session, quarantines: Collection[Quarantine]) -> list[str]:
    """Describe the foreign keys in other quarantines that a removal of these drops."""
    params = _spaces(session, [each.schema for each in quarantines])
    rows = queried(session, "looking at the quarantine", "transfer/foreign_keys_to", params)
    return [name for (name,) in rows]


def drop(session: Session, quarantines: Collection[Quarantine]) -> None:
    """Remove quarantines with everything in them, for ever; many objects in many transactions.

    Refuses while an object outside uses them. Foreign keys of other quarantines are no obstacle:
    otherwise two that reference each other could never go. After the first transaction nobody can
    put a quarantine back; after an interruption call this again. Raises `TransferError`, also if a
    session uses the tables for `TIMEOUT_S` seconds.
    """
    connection = session.connection
    schemas = [each.schema for each in quarantines]
    parts = [
        session.rows(query, {"schemas": schemas})
        for query in ("transfer/relations_to_drop", "transfer/functions_and_types_to_drop")
    ]

    failed = partial(in_use, session, quarantines)
    # Before the mark, so that an undo is still possible if a session uses the tables.
    locks.unused(session, oids(session, quarantines), TIMEOUT_S, failed)
    if sum(map(len, parts)) > BATCH:
        with _transaction(session):
            _require_unused(session, schemas)
            for each in quarantines:
                _comment(session, each.schema, {**each.note()._asdict(), _REMOVED: True})
        for batch in chain.from_iterable(map(batches, parts)):
            with _transaction(session):
                work = partial(_drop_some, session, schemas, batch)
                locks.insist(session, TIMEOUT_S, work, failed)
    with _transaction(session):
        _require_unused(session, schemas)
        names = ", ".join(map(quoted, schemas))
        rest = partial(connection.execute, f"DROP SCHEMA {names} CASCADE".encode())
        locks.insist(session, TIMEOUT_S, rest, failed)


def oids(session: Session, quarantines: Collection[Quarantine]) -> list[int]:
    """The OIDs of the relations in quarantines."""
    asked = [[each.schema for each in quarantines]]
    rows = queried(session, "looking at the quarantine", "transfer/quarantined_relations", asked)
    return [oid for (oid,) in rows]


def in_use(session: Session, quarantines: Collection[Quarantine]) -> TransferError:
    """The error for a session that has used quarantined tables for too long."""
    what = f"other sessions have used the quarantine for more than {TIMEOUT_S:.0f} s"
    return locks.error(session, oids(session, quarantines), "AccessExclusiveLock", what)


def _drop_some(session: Session, schemas: list[str], rows: Sequence[Sequence[Any]]) -> None:
    """Drop a batch and its dependents in the quarantine; some may be gone already."""
    connection = session.connection
    tables = [name for kind, name, _, _ in rows if kind == "TABLE"]
    there = "select name from unnest(%s::text[]) as name where to_regclass(name) is not null"
    tables = [name for (name,) in connection.execute(there, [tables]).fetchall()]
    if tables:  # no session begins to use them after the check
        connection.execute(f"LOCK TABLE ONLY {', ONLY '.join(tables)}".encode())
    _require_unused(session, schemas, rows)
    statements = [f"DROP {kind} IF EXISTS {name} CASCADE" for kind, name, _, _ in rows]
    connection.execute("; ".join(statements).encode())


def _require_unused(
    session: Session, schemas: list[str], rows: Sequence[Sequence[Any]] | None = None
) -> None:
    """Raise `TransferError` if an object outside uses ``rows``, or anything in the schemas."""
    classes, oids = None, None
    if rows is not None:
        classes, oids = [each[2] for each in rows], [each[3] for each in rows]
    params = {**_spaces(session, schemas), "classes": classes, "oids": oids}
    if used := session.rows("transfer/dependents_elsewhere", params):
        who = ", ".join(each for (each,) in used[:10])
        services = {
            each.service
            for each in find(session)
            if each.schema not in schemas and each.schema in who
        }
        first = [
            f"entrypoint transfer {shlex.quote(each)} --drop-quarantine"
            for each in sorted(services)
        ]
        raise TransferError(
            f"other objects still use {', '.join(map(repr, schemas))}: {who}",
            remedy=(f"Run {' and '.join(first)} first, or drop" if first else "Drop")
            + " those objects, and run the command again.",
        )


@contextmanager
def _transaction(session: Session) -> Iterator[None]:
    session.connection.execute("begin")
    begin = f"{load_sql('transfer/quiet')}; set local lock_timeout = '{TIMEOUT_S:.0f}s'"
    session.connection.execute(begin)
    yield
    session.connection.execute("commit")
