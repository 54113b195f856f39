"""Whether the target has what the source had, fact by fact; `rows` compares its rows."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ...postgres import catalog
from ...postgres.session import Session, translated
from .plan import Plan

if TYPE_CHECKING:
    from .source import Other, Relation

PG_PROC: Final = 1255
PG_TYPE: Final = 1247

_COMMENTS: Final = """
select row('comment', o.type, o.identity, description)::text from pg_description d
cross join pg_identify_object(classoid, objoid, objsubid) o
where classoid = 'pg_class'::regclass and (objoid = any (%(oids)s) or exists (
    select from pg_index where indexrelid = objoid and indrelid = any (%(oids)s)))
  or classoid = 'pg_constraint'::regclass and exists (
    select from pg_constraint c where c.oid = objoid and conrelid = any (%(oids)s))
  or classoid = 'pg_trigger'::regclass and exists (
    select from pg_trigger t where t.oid = objoid and tgrelid = any (%(oids)s))
  or classoid = 'pg_policy'::regclass and exists (
    select from pg_policy p where p.oid = objoid and polrelid = any (%(oids)s))
  or classoid = 'pg_type'::regclass and objoid = any (%(types)s)
  or classoid = 'pg_proc'::regclass and objoid = any (%(functions)s)
"""

# Rights that were never granted are written as what they amount to; a dump may keep either.
_RIGHTS: Final = """
with acl (what, owner, items) as (
  select row(nspname, relname), relowner, coalesce(relacl, acldefault(
      (case relkind when 'S' then 's' else 'r' end)::"char", relowner))
  from pg_class c join pg_namespace n on n.oid = relnamespace where c.oid = any (%(oids)s)
  union all
  select row(attrelid::regclass, attname), null, attacl from pg_attribute
  where attrelid = any (%(oids)s) and attacl is not null and attnum > 0 and not attisdropped
  union all
  select row('type', t.oid::regtype), typowner, coalesce(typacl, acldefault('T', typowner))
  from pg_type t where t.oid = any (%(types)s)
  union all
  select row('function', p.oid::regprocedure), proowner, coalesce(proacl, acldefault('f', proowner))
  from pg_proc p where p.oid = any (%(functions)s)
  union all
  select row('default', coalesce(nspname, ''), defaclobjtype), defaclrole, defaclacl
  from pg_default_acl left join pg_namespace n on n.oid = defaclnamespace
)
select row('rights', what, pg_get_userbyid(owner), (
  select array_agg(item::text order by item::text) from unnest(items) as each (item)
  where split_part(item::text, '=', 1) <> all (%(ours)s)))::text
from acl
"""

# What the source may have more of, because it is others'. Of what has a name only, such as an
# operator, content that is evaluated could make another one while it is restored.
_OBJECTS: Final = """
select row('object', 'rights of a schema', nspname, pg_get_userbyid(nspowner), (
  select array_agg(item::text order by item::text)
  from unnest(coalesce(nspacl, acldefault('n', nspowner))) as each (item)
  where split_part(item::text, '=', 1) <> all (%(ours)s)))::text
from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' and %(rights)s
union all
select row('object', 'rights of a large object', oid, pg_get_userbyid(lomowner), (
  select array_agg(item::text order by item::text)
  from unnest(coalesce(lomacl, acldefault('L', lomowner))) as each (item)
  where split_part(item::text, '=', 1) <> all (%(ours)s)))::text
from pg_largeobject_metadata where %(blobs)s
union all
select row('object', 'operator', oid::regoperator, oprcode, oprcanmerge, oprcanhash, oprrest,
  oprjoin, oprcom::regoperator, oprnegate::regoperator)::text
from pg_operator where oid >= 16384
union all
select row('object', 'cast', castsource::regtype, casttarget::regtype, castfunc::regprocedure,
  castcontext, castmethod)::text
from pg_cast where oid >= 16384
"""

_STATE: Final = """
select row('populated', oid::regclass, relispopulated)::text from pg_class
where oid = any (%(oids)s) and relkind = 'm'
union all
select row('large object', oid, md5(lo_get(oid)))::text from pg_largeobject_metadata
where %(blobs)s
"""


_OIDS: Final = """
select (select json_agg(c.oid::int8) from pg_class c join pg_namespace n on n.oid = relnamespace
    where (nspname, relname) in (select * from unnest(%s::name[], %s::name[]))),
  (select json_agg(t.oid::int8) from pg_type t join pg_namespace n on n.oid = typnamespace
    where (nspname, typname) in (select * from unnest(%s::name[], %s::name[]))),
  (select json_agg(p.oid::int8) from pg_proc p join pg_namespace n on n.oid = pronamespace
    where (nspname, proname) in (select * from unnest(%s::name[], %s::name[])))
"""


class Difference(NamedTuple):
    """A fact that only one side has."""

    side: str
    """``source`` or ``target``"""

    fact: str


class Scope(NamedTuple):
    """What is compared, as OIDs of one side."""

    oids: list[int]
    types: list[int]
    functions: list[int]
    blobs: bool
    rights: bool
    ours: list[str]
    """Roles of the transfer's own, whose rights are no facts."""


def facts(session: Session, scope: Scope) -> set[str]:
    """Everything but rows and sequences' positions, as text; in the session's transaction."""
    params = scope._asdict()
    lines = catalog.LINES
    for name, condition in (
        ("relations", "and c.oid = any (%(oids)s)"),
        ("types", "and t.oid = any (%(types)s)"),
        ("functions", "and p.oid = any (%(functions)s)"),
    ):
        lines = lines.replace(f"/* {name} */", condition)
    lines = lines.replace("%", "%%").replace("%%(", "%(")  # else they would be parameters
    queries = [f"{lines} select text from line"]  # noqa: S608  texts of our own
    queries += [_COMMENTS, _STATE, _OBJECTS, *([_RIGHTS] if scope.rights else [])]
    connection = session.connection
    with translated("comparing facts", remedy="Run the transfer again."):
        connection.execute(f"savepoint facts; {catalog.SETTINGS}")
        rows = [
            text
            for query in queries
            for (text,) in connection.execute(query.encode(), params).fetchall()
        ]
        connection.execute("rollback to facts; release facts")
    # PostgreSQL 18 names what is in schema public's own rights; the schema itself comes with it.
    return {row for row in rows if not row.startswith(("(schema,", "(extension,"))}


def differences(source: set[str], target: set[str]) -> list[Difference]:
    """What only one of them has, but for objects that stay in the source."""
    stay = {fact for fact in source if fact.startswith("(object,")}
    return [
        *(Difference("source", fact) for fact in sorted(source - target - stay)),
        *(Difference("target", fact) for fact in sorted(target - source)),
    ]


def scope_of(session: Session, plan: Plan, ours: list[str], *, blobs: bool, rights: bool) -> Scope:
    """The plan's objects by the OIDs that they have in this database."""
    broken = plan.broken_views()
    relations = [each for each in plan.relations if each.oid not in broken]
    groups: tuple[Sequence[Relation | Other], ...] = (
        relations,
        [each for each in plan.carried if each.key[0] == PG_TYPE],
        [each for each in plan.carried if each.key[0] == PG_PROC],
    )
    params: list[list[str]] = []
    for group in groups:
        params += [[each.schema for each in group], [each.name for each in group]]
    with translated("looking at what was moved", remedy="Run the transfer again."):
        found = session.connection.execute(_OIDS, params).fetchone() or (None,) * 3
    oids, types, functions = (each or [] for each in found)
    return Scope(oids, types, functions, blobs, rights, ours)


def unexplained(plan: Plan, found: Iterable[Difference]) -> list[Difference]:
    """Differences but for the foreign keys that the plan leaves behind."""
    relations = plan.source.relations
    left = [
        (relations[edge.user].name, edge.name)
        for edge in plan.crossing
        if edge.kind == "fk" and edge.user in plan.moving
    ]
    return [
        each
        for each in found
        if not (
            each.side == "source"
            and each.fact.startswith(("(constraint,", "(comment,"))
            and any(table in each.fact and name in each.fact for table, name in left)
        )
    ]
