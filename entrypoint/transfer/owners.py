"""Who owns what a restore made: its writer first, and at the end who owns it in the source."""

from collections.abc import Mapping
from typing import Final

from ..errors import TransferError, plural
from ..postgres.session import Session, quoted, translated
from .graph import PG_CLASS
from .plan import Plan
from .room import batches

# A sequence goes with the table that owns it, the type of a row or an array with what it is of.
_OBJECTS: Final = """
with owned (classid, objid, owner) as (
  select 'pg_class'::regclass::oid, oid, relowner from pg_class c
  where relkind in ('r', 'p', 'v', 'm', 'S', 'f') and not exists (
    select from pg_depend d where relkind = 'S' and d.classid = 'pg_class'::regclass
      and d.objid = c.oid and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
      and d.deptype in ('a', 'i'))
  union all select 'pg_type'::regclass, t.oid, typowner from pg_type t
  left join pg_class c on c.oid = typrelid
  where coalesce(relkind, 'c') = 'c' and not exists (
    select from pg_type e where e.typarray = t.oid)
  union all select 'pg_proc'::regclass, oid, proowner from pg_proc
  union all select 'pg_namespace'::regclass, oid, nspowner from pg_namespace
  union all select 'pg_operator'::regclass, oid, oprowner from pg_operator
  union all select 'pg_opclass'::regclass, oid, opcowner from pg_opclass
  union all select 'pg_opfamily'::regclass, oid, opfowner from pg_opfamily
  union all select 'pg_collation'::regclass, oid, collowner from pg_collation
  union all select 'pg_conversion'::regclass, oid, conowner from pg_conversion
  union all select 'pg_ts_dict'::regclass, oid, dictowner from pg_ts_dict
  union all select 'pg_ts_config'::regclass, oid, cfgowner from pg_ts_config
  union all select 'pg_statistic_ext'::regclass, oid, stxowner from pg_statistic_ext
  union all select 'pg_publication'::regclass, oid, pubowner from pg_publication
  union all select 'pg_foreign_server'::regclass, oid, srvowner from pg_foreign_server
  union all select 'pg_largeobject'::regclass, oid, lomowner from pg_largeobject_metadata
)
select classid::int8, objid::int8, type, identity, pg_get_userbyid(owner)::text from owned
cross join pg_identify_object(classid, objid, 0)
where {} order by classid, objid
"""

_ANY: Final = "objid >= 16384 or identity = 'public' or classid = 'pg_largeobject'::regclass"
_OF: Final = "owner = (select oid from pg_roles where rolname = %s)"

# A multirange goes with its range in some minor versions, and is refused then.
_FIRST: Final = f"""
{_OF} and not exists (
  select from pg_type m where classid = 'pg_type'::regclass and m.oid = objid and typtype = 'm')
"""

# All that has an owner, of whatever kind.
_REST: Final = """
select pg_describe_object(classid, objid, 0) from pg_shdepend
where dbid = (select oid from pg_database where datname = current_database()) and deptype = 'o'
  and refobjid = (select oid from pg_roles where rolname = %s)
"""

_KINDS: Final = {
    "aggregate": "ROUTINE",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "statistics object": "STATISTICS",
}
"""What ALTER calls an object otherwise than pg_identify_object does."""


def hand_over(source: Session, target: Session, plan: Plan, writer: str, public: str) -> None:
    """Give each object of the writer's in the target to the role that owns it in the source.

    ``public`` gets the schema of that name if the source has none. Evaluates nothing. Raises
    `TransferError` for what the source does not have: something that was evaluated made it, and it
    belongs to nobody.
    """
    left = {*plan.unrestorable(), *((PG_CLASS, each.oid) for each in plan.not_copied)}
    with translated("looking for owners", remedy="Run the transfer again."):
        there = source.connection.execute(_OBJECTS.format(_ANY).encode()).fetchall()
    owners = {("schema", "public"): public}
    owners |= {
        (kind, identity): owner
        for catalog, oid, kind, identity, owner in there
        if (catalog, oid) not in left
    }
    for which in (_FIRST, _OF):
        _give(target, owners, _OBJECTS.format(which), writer)
    with translated("looking for what is left", remedy="Run the transfer again."):
        rest = [each for (each,) in target.connection.execute(_REST, [writer]).fetchall()]
    if rest:
        raise TransferError(
            f"{plural(len(rest), 'object')} cannot be given to the right owner: "
            f"{', '.join(rest[:10])}",
            remedy="Report it with these objects, please; the source is as it was.",
        )


def _give(target: Session, owners: Mapping[tuple[str, str], str], query: str, writer: str) -> None:
    with translated("looking for owners", remedy="Run the transfer again."):
        made = target.connection.execute(query.encode(), [writer]).fetchall()
    keys = [(kind, identity) for _, _, kind, identity, _ in made]
    if strange := [f"{kind} {name}" for kind, name in keys if (kind, name) not in owners]:
        raise TransferError(
            f"something in the source made {plural(len(strange), 'object')} while it was restored: "
            f"{', '.join(strange[:10])}",
            remedy="Look at the functions that the service's tables call; nothing was moved.",
        )
    statements = [
        f"ALTER {_KINDS.get(kind, kind.upper())} {name} OWNER TO {quoted(owners[kind, name])}"
        for kind, name in keys
    ]
    with translated("giving each object to its owner", remedy="Run the transfer again."):
        # A table's indexes, sequences and TOAST are locked with it until the transaction ends.
        for batch in batches(statements):
            target.connection.execute("; ".join(batch).encode())
