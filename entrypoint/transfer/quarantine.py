"""Where moved objects stay in the source until somebody removes them: schemas of their own.

One for each schema that they came from, whose comment says what it is; nothing is ever dropped but
on request.
"""

import json
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any, Final

from psycopg import sql

from ..errors import TransferError
from ..postgres.quarantine import MARK, Quarantine, find
from ..postgres.session import Session, quoted, translated
from . import beside
from .locks import TIMEOUT_S
from .plan import Plan
from .room import BATCH, batches
from .source import Relation
from .throwaway import QUIET

MAX_NAME: Final = 63

_REMOVED: Final = "removed"
"""In the comment of a quarantine whose removal has begun, which comes in parts."""


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


def fill(session: Session, plan: Plan, more: Mapping[str, str]) -> dict[str, str]:
    """Move the plan's objects into quarantine, in the session's open transaction.

    ``more`` is what the note says besides: `Note`'s ``where`` and ``replaced``. Returns the
    new schemas by those of origin. Blocks for the locks; when it raises, nothing moved.
    """
    # To the microsecond: it tells the moves of one service apart.
    more = {"at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), **more}
    schemas: dict[str, str] = {}
    connection = session.connection
    parts = {
        "relations": [each.oid for each in plan.relations],
        "types": [each.key[1] for each in plan.own if each.kind == "TYPE"],
    }
    moves = connection.execute(_PARTS, parts).fetchall()
    moves += [(each.sql_kind(), each.quoted(), each.schema) for each in _in_order(plan)]
    # A cast is in no schema: it is of its types.
    moves += [(each.kind, each.identity, each.schema) for each in plan.own if each.kind != "CAST"]
    statements = []
    for kind, name, origin in sorted(moves, key=_functions_first):
        if origin not in schemas:
            schemas[origin] = _create(session, plan, origin, more)
        statements.append(f"ALTER {kind} {name} SET SCHEMA {quoted(schemas[origin])}")
    _execute(session, statements)
    # A foreign key that points here is checked as the owner of the table that it points to.
    for origin, owner in sorted({(each.schema, each.owner) for each in plan.relations}):
        grant = f"GRANT USAGE ON SCHEMA {quoted(schemas[origin])} TO {quoted(owner)}"
        connection.execute(grant.encode())
    return schemas


def _execute(session: Session, statements: Sequence[str]) -> None:
    """Many in one message: whoever wants to read waits until the last is done."""
    for batch in batches(statements):
        session.connection.execute("; ".join(batch).encode())


def _functions_first(move: Sequence[str]) -> bool:
    """What is named with its arguments' types comes first, as long as those are where they were."""
    return move[0] not in ("FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR")


def _in_order(plan: Plan) -> Iterable[Relation]:
    """Owned sequences go with their table by themselves."""
    return (each for each in plan.relations if each.owner_table is None)


def _create(session: Session, plan: Plan, origin: str, more: Mapping[str, str]) -> str:
    base = f"moved_{plan.service.database}_{origin}".encode()[: MAX_NAME - 4].decode(
        "utf-8", "ignore"
    )
    connection = session.connection
    row = connection.execute(
        "select array_agg(nspname::text) from pg_namespace where starts_with(nspname, %s)", [base]
    ).fetchone()
    taken = (row[0] if row else None) or []
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


# A comment is no evidence: whoever may create a schema writes one. Its owner is, who must be a
# superuser, or us, or who could do the same without us.
_DOUBTFUL: Final = """
select nspname::text, pg_get_userbyid(nspowner)::text from pg_namespace n
join pg_roles r on r.oid = nspowner
where nspname = any (%(schemas)s) and not rolsuper and rolname <> current_user and not (
  exists (select from pg_database where datname = %(database)s and datdba = nspowner)
  and not exists (select from pg_namespace o where o.nspname = any (%(origins)s)
    and not has_schema_privilege(n.nspowner, o.oid, 'create')))
order by 1
"""


def require_ours(session: Session, found: Collection[Quarantine], database: str) -> None:
    """Raise `TransferError` where one may have been made to have us put it where it was not from.

    ``database`` is the service's.
    """
    asked = {
        "schemas": [each.schema for each in found],
        "origins": [each.origin for each in found],
        "database": database,
    }
    with translated("looking at the quarantine", remedy="Start again."):
        rows = session.connection.execute(_DOUBTFUL, asked).fetchall()
    for schema, owner in rows:
        raise TransferError(
            f"the schema {schema!r} says that it is a quarantine, but is owned by {owner!r}, a "
            "role that could not put everything back itself; nothing was changed",
            remedy=f"If {owner!r} moved the service, run ALTER SCHEMA {quoted(schema)} OWNER TO "
            "CURRENT_USER as a superuser, and the same again as that one; if not, look at what is "
            f"in it, and run DROP SCHEMA {quoted(schema)} CASCADE.",
            schema=schema,
        )


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
union all
select upper(type), identity from (
  select 'pg_operator'::regclass, oid, oprnamespace from pg_operator
  union all select 'pg_collation'::regclass, oid, collnamespace from pg_collation
  union all select 'pg_conversion'::regclass, oid, connamespace from pg_conversion
  union all select 'pg_ts_config'::regclass, oid, cfgnamespace from pg_ts_config
  union all select 'pg_ts_dict'::regclass, oid, dictnamespace from pg_ts_dict
) rare (class, id, space) cross join pg_identify_object(class, id, 0)
where space = to_regnamespace(quote_ident(%(schema)s))
"""


def empty(session: Session, quarantine: Quarantine) -> int:
    """Move everything back to where it came from, in the session's open transaction.

    Returns how many objects. Raises `TransferError` when some of them have been removed.
    """
    connection = session.connection
    removed = (
        "select obj_description(oid, 'pg_namespace') like %s from pg_namespace where nspname = %s"
    )
    params = [f'%"{_REMOVED}": true}}', quarantine.schema]
    if connection.execute(removed, params).fetchone() == (True,):
        raise TransferError(
            f"{quarantine.schema!r} cannot be put back: its removal has begun",
            remedy="Run --drop-quarantine again, which removes the rest.",
        )
    rows = connection.execute(_CONTENT, {"schema": quarantine.schema}).fetchall()
    back = f"SET SCHEMA {quoted(quarantine.origin)}"
    ordered = sorted(rows, key=_functions_first)
    _execute(session, [f"ALTER {kind} {name} {back}" for kind, name in ordered])
    connection.execute(f"DROP SCHEMA {quoted(quarantine.schema)}".encode())
    return len(rows)


def locks(session: Session, quarantines: Collection[Quarantine]) -> int:
    """How many locks it takes to move everything back."""
    query = """
        select (select count(*) from pg_class where relnamespace = any (spaces)
            and relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c'))
          + (select count(*) from pg_proc where pronamespace = any (spaces))
          + (select count(*) from pg_type where typnamespace = any (spaces)
            and typtype in ('e', 'd', 'r'))
          + (select count(*) from pg_operator where oprnamespace = any (spaces))
        from (select array_agg(oid) from pg_namespace where nspname = any (%s)) each (spaces)
        """
    with translated("looking at the quarantine", remedy="Start again."):
        row = session.connection.execute(query, [[q.schema for q in quarantines]]).fetchone()
    return int(row[0]) if row else 0


# In an order in which little goes along with anything: views first, children before their parents,
# and what is younger, such as what has a foreign key, before what is older.
_DROPPED: Final = """
with recursive space as (select oid, nspname from pg_namespace where nspname = any (%(schemas)s)
), descent (oid, level) as (
  select inhparent, 0 from pg_inherits
  union
  select inhrelid, level + 1 from descent join pg_inherits on inhparent = descent.oid
), depth (oid, level) as (select oid, max(level) from descent group by oid)
select case relkind when 'v' then 'VIEW' when 'm' then 'MATERIALIZED VIEW' when 'S' then 'SEQUENCE'
    when 'f' then 'FOREIGN TABLE' else 'TABLE' end, format('%%I.%%I', nspname, relname),
  'pg_class'::regclass::int8, c.oid::int8
from pg_class c join space s on s.oid = relnamespace left join depth on depth.oid = c.oid
where relkind in ('r', 'p', 'v', 'm', 'S', 'f')
order by case relkind when 'v' then 0 when 'm' then 1 when 'S' then 3 else 2 end,
  coalesce(level, 0) desc, c.oid desc
"""

_OTHERS: Final = """
select case prokind when 'p' then 'PROCEDURE' when 'a' then 'AGGREGATE' else 'FUNCTION' end,
  format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)),
  'pg_proc'::regclass::int8, p.oid::int8
from pg_proc p join pg_namespace n on n.oid = pronamespace
where nspname = any (%(schemas)s) and not exists (select from pg_depend d
  where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'i')
union all
select 'TYPE', format('%%I.%%I', nspname, typname), 'pg_type'::regclass::int8, t.oid::int8
from pg_type t join pg_namespace n on n.oid = typnamespace
where nspname = any (%(schemas)s) and (typtype in ('e', 'd', 'r') or typtype = 'c' and exists (
  select from pg_class where oid = typrelid and relkind = 'c'))
"""

# All that a DROP would take along, and of it what is somewhere else. With a table go its toast
# table and its array type, with a type its casts, its multirange and their functions, with a
# foreign key its triggers.
_DEPENDENTS: Final = """
with recursive space as (
  select oid, nspname from pg_namespace where nspname = any (%(schemas)s)
), gone (classid, objid, objsubid) as (
  select first.*, 0 from unnest(%(classes)s::oid[], %(oids)s::oid[]) as first
  union all
  select 'pg_namespace'::regclass::oid, oid, 0 from space where %(oids)s::oid[] is null
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
    select from pg_constraint k where k.oid = objid and (connamespace in (select oid from space)
      or contype = 'f' and connamespace = any (%(away)s)))
  else names[1] = 'pg_toast' or names[1] in (select nspname from space) end
  and not (classid in ('pg_proc'::regclass, 'pg_trigger'::regclass, 'pg_type'::regclass)
    and exists (select from pg_depend i where i.classid = gone.classid and i.objid = gone.objid
      and i.deptype = 'i'))
order by 1
"""


# Foreign keys in a quarantine that point to what is removed: with it goes what they are for.
_POINTING: Final = """
select format('%%I of %%s', conname, conrelid::regclass) from pg_constraint
join pg_class t on t.oid = confrelid join pg_namespace n on n.oid = t.relnamespace
where contype = 'f' and conparentid = 0 and nspname = any (%(schemas)s)
  and connamespace = any (%(away)s) and connamespace not in (
    select oid from pg_namespace where nspname = any (%(schemas)s))
order by 1
"""

_AWAY: Final = """
select coalesce(array_agg(objoid), '{}') from pg_catalog.pg_description
where classoid = 'pg_catalog.pg_namespace'::regclass and starts_with(description, %s)
"""


def _spaces(session: Session, schemas: Collection[str]) -> dict[str, object]:
    """The schemas, and the OIDs of all quarantines."""
    [(away,)] = session.connection.execute(_AWAY, [MARK]).fetchall()
    return {"schemas": list(schemas), "away": away}


def pointing(session: Session, quarantines: Collection[Quarantine]) -> list[str]:
    """Foreign keys in other quarantines that go with these, in words."""
    with translated("looking at the quarantine", remedy="Start again."):
        params = _spaces(session, [each.schema for each in quarantines])
        rows = session.connection.execute(_POINTING, params).fetchall()
    return [name for (name,) in rows]


def drop(session: Session, quarantines: Collection[Quarantine]) -> None:
    """Remove quarantines with all that is in them, for ever; many objects in many transactions.

    Nothing is removed if something outside still uses them, but for the foreign keys of other
    quarantines: two that point to each other could never be removed. Once the first is, no
    quarantine can be put back; if this ends in between, it is to be called again. Raises
    `TransferError`, also when somebody uses the tables for `TIMEOUT_S` seconds.
    """
    connection = session.connection
    schemas = [each.schema for each in quarantines]
    parts = [
        connection.execute(query, {"schemas": schemas}).fetchall() for query in (_DROPPED, _OTHERS)
    ]

    def failed() -> TransferError:
        return in_use(session, quarantines)

    # Before it is marked as removed, so that what somebody uses can still be put back.
    beside.unused(session, oids(session, quarantines), TIMEOUT_S, failed)
    if sum(map(len, parts)) > BATCH:
        with _transaction(session):
            _require_unused(session, schemas)
            for each in quarantines:
                _comment(session, each.schema, {**each.note()._asdict(), _REMOVED: True})
        for batch in chain.from_iterable(map(batches, parts)):
            with _transaction(session):
                work = partial(_drop_some, session, schemas, batch)
                beside.insist(session, TIMEOUT_S, work, failed)
    with _transaction(session):
        _require_unused(session, schemas)
        names = ", ".join(map(quoted, schemas))
        rest = partial(connection.execute, f"DROP SCHEMA {names} CASCADE".encode())
        beside.insist(session, TIMEOUT_S, rest, failed)


def oids(session: Session, quarantines: Collection[Quarantine]) -> list[int]:
    """The relations in quarantines."""
    query = """
        select c.oid::int8 from pg_class c join pg_namespace n on n.oid = relnamespace
        where nspname = any (%s) and relkind in ('r', 'p', 'v', 'm', 'S', 'f')
        """
    schemas = [each.schema for each in quarantines]
    with translated("looking at the quarantine", remedy="Start again."):
        return [oid for (oid,) in session.connection.execute(query, [schemas]).fetchall()]


def in_use(session: Session, quarantines: Collection[Quarantine]) -> TransferError:
    """What to raise when somebody has used quarantined tables for too long."""
    what = f"somebody has used the quarantine for more than {TIMEOUT_S:.0f} s"
    return beside.error(session, oids(session, quarantines), "AccessExclusiveLock", what)


def _drop_some(session: Session, schemas: list[str], rows: Sequence[Sequence[Any]]) -> None:
    """Drop a batch and what of the quarantine depends on it; some of it may be gone already."""
    connection = session.connection
    tables = [name for kind, name, _, _ in rows if kind == "TABLE"]
    there = "select name from unnest(%s::text[]) as name where to_regclass(name) is not null"
    tables = [name for (name,) in connection.execute(there, [tables]).fetchall()]
    if tables:  # nobody begins to use them after we have looked
        connection.execute(f"LOCK TABLE ONLY {', ONLY '.join(tables)}".encode())
    _require_unused(session, schemas, rows)
    statements = [f"DROP {kind} IF EXISTS {name} CASCADE" for kind, name, _, _ in rows]
    connection.execute("; ".join(statements).encode())


def _require_unused(
    session: Session, schemas: list[str], rows: Sequence[Sequence[Any]] | None = None
) -> None:
    """Raise `TransferError` when something outside uses these, or all that is in the schemas."""
    classes, oids = None, None
    if rows is not None:
        classes, oids = [each[2] for each in rows], [each[3] for each in rows]
    params = {**_spaces(session, schemas), "classes": classes, "oids": oids}
    if used := session.connection.execute(_DEPENDENTS, params).fetchall():
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
            f"{', '.join(map(repr, schemas))} {'is' if len(schemas) == 1 else 'are'} still used: "
            f"{who}",
            remedy=(f"Run {' and '.join(first)} first, or drop" if first else "Drop")
            + " what uses it, then run the same again.",
        )


@contextmanager
def _transaction(session: Session) -> Iterator[None]:
    session.connection.execute("begin")
    session.connection.execute(f"{QUIET}; set local lock_timeout = '{TIMEOUT_S:.0f}s'")
    yield
    session.connection.execute("commit")
