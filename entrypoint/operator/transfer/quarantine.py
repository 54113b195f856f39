"""Where moved objects stay in the source until somebody removes them: schemas of their own.

One for each schema that they came from, whose comment says what it is; nothing is ever dropped but
on request.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from psycopg import sql

from ...errors import TransferError
from ...postgres import objects
from ...postgres.session import Session, translated
from .plan import Plan
from .source import Relation, quoted

MAX_NAME: Final = 63


class Quarantine(NamedTuple):
    """One schema of moved objects."""

    schema: str
    service: str
    database: str
    """Where the objects went."""

    origin: str
    """The schema that they came from."""

    at: str
    size_bytes: int


# What does not go by itself with the table or the type that it belongs to: extended statistics,
# multiranges, and the functions that make ranges.
_PARTS: Final = """
select 'STATISTICS', format('%%I.%%I', nspname, stxname), nspname::text
from pg_statistic_ext s join pg_namespace n on n.oid = stxnamespace
where stxrelid = any (%(relations)s)
union all
select 'TYPE', format('%%I.%%I', nspname, typname), nspname
from pg_range join pg_type t on t.oid = rngmultitypid join pg_namespace n on n.oid = typnamespace
where rngtypid = any (%(types)s)
union all
select distinct 'FUNCTION',
  format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)), nspname::text
from pg_range join pg_depend d on d.refclassid = 'pg_type'::regclass
  and d.refobjid in (rngtypid, rngmultitypid)
join pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid and d.deptype = 'i'
join pg_namespace n on n.oid = pronamespace
where rngtypid = any (%(types)s)
"""


def fill(session: Session, plan: Plan) -> dict[str, str]:
    """Move the plan's objects into quarantine, in the session's open transaction.

    Returns the new schemas by those of origin. Blocks for the locks; when it raises, nothing moved.
    """
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    schemas: dict[str, str] = {}
    connection = session.connection
    parts = {
        "relations": [each.oid for each in plan.relations],
        "types": [each.key[1] for each in plan.own if each.kind == "TYPE"],
    }
    moves = connection.execute(_PARTS, parts).fetchall()
    moves += [(each.sql_kind(), each.quoted(), each.schema) for each in _in_order(plan)]
    moves += [(each.kind, each.identity, each.schema) for each in plan.own]
    for kind, name, origin in sorted(moves, key=_functions_first):
        if origin not in schemas:
            schemas[origin] = _create(session, plan, origin, at)
        statement = f"ALTER {kind} {name} SET SCHEMA {quoted(schemas[origin])}"
        connection.execute(statement.encode())
    return schemas


def _functions_first(move: Sequence[str]) -> bool:
    """A function is named with its arguments' types, which must be where they were."""
    return move[0] not in ("FUNCTION", "PROCEDURE", "AGGREGATE")


def _in_order(plan: Plan) -> Iterable[Relation]:
    """Owned sequences go with their table by themselves."""
    return (each for each in plan.relations if each.owner_table is None)


def _create(session: Session, plan: Plan, origin: str, at: str) -> str:
    base = f"moved_{plan.service.database}_{origin}".encode()[: MAX_NAME - 4].decode(
        "utf-8", "ignore"
    )
    connection = session.connection
    row = connection.execute(
        "select array_agg(nspname::text) from pg_namespace where starts_with(nspname, %s)", [base]
    ).fetchone()
    taken = (row[0] if row else None) or []
    name = next(n for n in (base, *(f"{base}_{i}" for i in range(2, 999))) if n not in taken)
    note = {
        "service": plan.service.name,
        "database": plan.service.database,
        "origin": origin,
        "at": at,
    }
    identifier = sql.Identifier(name)
    connection.execute(sql.SQL("create schema {}").format(identifier))
    comment = sql.SQL("comment on schema {} is {}")
    connection.execute(
        comment.format(identifier, sql.Literal(objects.QUARANTINE + json.dumps(note)))
    )
    return name


def find(session: Session, service: str | None = None) -> list[Quarantine]:
    """The quarantines in the session's database, of one service or of all, the oldest first."""
    query = """
        select nspname, description, coalesce((
          select sum(pg_total_relation_size(c.oid)) from pg_class c
          where relnamespace = n.oid and relkind in ('r', 'm', 'S')), 0)::int8
        from pg_catalog.pg_namespace n
        join pg_catalog.pg_description on objoid = n.oid and classoid = 'pg_namespace'::regclass
        where starts_with(description, %s)
        """
    with translated("looking for quarantined objects", remedy="Start again."):
        rows = session.connection.execute(query, [objects.QUARANTINE]).fetchall()
    found = [
        Quarantine(schema, *note, size)
        for schema, comment, size in rows
        if (note := objects.note(comment)) and service in (None, note.service)
    ]
    return sorted(found, key=lambda each: each.at)


_CONTENT: Final = """
select case relkind when 'v' then 'VIEW' when 'm' then 'MATERIALIZED VIEW' when 'S' then 'SEQUENCE'
    when 'f' then 'FOREIGN TABLE' else 'TABLE' end, format('%%I.%%I', nspname, relname)
from pg_class c join pg_namespace n on n.oid = relnamespace
where nspname = %(schema)s and relkind in ('r', 'p', 'v', 'm', 'S', 'f') and not exists (
  select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
    and relkind = 'S' and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
    and d.deptype in ('a', 'i'))
union all
select case typtype when 'd' then 'DOMAIN' else 'TYPE' end, format('%%I.%%I', nspname, typname)
from pg_type t join pg_namespace n on n.oid = typnamespace
where nspname = %(schema)s and (typtype in ('e', 'd', 'r', 'm') or typtype = 'c' and exists (
  select from pg_class where oid = typrelid and relkind = 'c'))
union all
select 'STATISTICS', format('%%I.%%I', nspname, stxname)
from pg_statistic_ext s join pg_namespace n on n.oid = stxnamespace where nspname = %(schema)s
union all
select case prokind when 'p' then 'PROCEDURE' when 'a' then 'AGGREGATE' else 'FUNCTION' end,
  format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid))
from pg_proc p join pg_namespace n on n.oid = pronamespace
where nspname = %(schema)s
"""


def empty(session: Session, quarantine: Quarantine) -> int:
    """Move everything back to where it came from, in the session's open transaction.

    Returns how many objects.
    """
    connection = session.connection
    rows = connection.execute(_CONTENT, {"schema": quarantine.schema}).fetchall()
    for kind, name in sorted(rows, key=_functions_first):
        statement = f"ALTER {kind} {name} SET SCHEMA {quoted(quarantine.origin)}"
        connection.execute(statement.encode())
    connection.execute(f"DROP SCHEMA {quoted(quarantine.schema)}".encode())
    return len(rows)


# All that a DROP would take along, and of it what is somewhere else. With a table go its toast
# table and its array type, with a type its casts, its multirange and their functions, with a
# foreign key its triggers.
_DEPENDENTS: Final = """
with recursive space as (
  select oid, nspname from pg_namespace where nspname = any (%(schemas)s)
), gone (classid, objid, objsubid) as (
  select 'pg_namespace'::regclass::oid, oid, 0 from space
  union
  select d.classid, d.objid, d.objsubid from gone
  join pg_depend d on d.refclassid = gone.classid and d.refobjid = gone.objid
  where d.deptype <> 'e'
)
select distinct pg_describe_object(classid, objid, objsubid) from gone
cross join pg_identify_object_as_address(classid, objid, 0) as address (type, names, args)
where not case classid
  when 'pg_type'::regclass then exists (
    select from pg_type t
    where t.oid = objid and typnamespace in (select oid from space))
  when 'pg_statistic_ext'::regclass then exists (
    select from pg_statistic_ext x join pg_class t on t.oid = stxrelid
    where x.oid = objid and t.relnamespace in (select oid from space))
  when 'pg_cast'::regclass then exists (
    select from pg_cast k join pg_type t on t.oid in (castsource, casttarget)
    where k.oid = objid and typnamespace in (select oid from space))
  when 'pg_constraint'::regclass then exists (
    select from pg_constraint k where k.oid = objid and connamespace in (select oid from space))
  else names[1] = 'pg_toast' or names[1] in (select nspname from space) end
  and not (classid in ('pg_proc'::regclass, 'pg_trigger'::regclass, 'pg_type'::regclass)
    and exists (select from pg_depend i where i.classid = gone.classid and i.objid = gone.objid
      and i.deptype = 'i'))
order by 1
"""


def drop(session: Session, quarantines: Collection[Quarantine]) -> None:
    """Remove quarantines with all that is in them, for ever; in the session's open transaction.

    Raises `TransferError` when something outside still uses them.
    """
    connection = session.connection
    schemas = [each.schema for each in quarantines]
    rows = connection.execute(_DEPENDENTS, {"schemas": schemas}).fetchall()
    if rows:
        who = ", ".join(each for (each,) in rows[:10])
        raise TransferError(
            f"{', '.join(map(repr, schemas))} {'is' if len(schemas) == 1 else 'are'} still used: "
            f"{who}",
            remedy="Drop what uses it, then run the same again.",
        )
    names = ", ".join(map(quoted, schemas))
    connection.execute(f"DROP SCHEMA {names} CASCADE".encode())
