"""Which object needs which, in words of the catalogs."""

from typing import Final

# From a relation down to every type and function: columns, defaults, constraints, indexes,
# triggers, rules, policies and what those need. Array types lead to their elements.
USES: Final = """
with recursive start (relation, classid, objid) as (
  select c.oid, 'pg_class'::regclass::oid, c.oid from pg_class c where c.oid >= 16384
    and relkind in ('r', 'p', 'v', 'm', 'f')
  union all select indrelid, 'pg_class'::regclass, indexrelid from pg_index
    where indexrelid >= 16384
  union all select adrelid, 'pg_attrdef'::regclass, oid from pg_attrdef
  union all select conrelid, 'pg_constraint'::regclass, oid from pg_constraint where conrelid > 0
  union all select tgrelid, 'pg_trigger'::regclass, oid from pg_trigger where not tgisinternal
  union all select ev_class, 'pg_rewrite'::regclass, oid from pg_rewrite where ev_class >= 16384
  union all select polrelid, 'pg_policy'::regclass, oid from pg_policy
), reach (relation, classid, objid) as (
  select relation, classid, objid from start
  union
  select relation, case when t.typelem > 0 and t.typcategory = 'A' then 'pg_type'::regclass::oid
      else d.refclassid end,
    case when t.typelem > 0 and t.typcategory = 'A' then t.typelem else d.refobjid end
  from reach join pg_depend d on d.classid = reach.classid and d.objid = reach.objid
  left join pg_type t on d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
  where d.deptype in ('n', 'a', 'i') and d.refobjid >= 16384
    and d.refclassid in ('pg_type'::regclass, 'pg_proc'::regclass, 'pg_opclass'::regclass,
      'pg_operator'::regclass, 'pg_collation'::regclass, 'pg_ts_config'::regclass)
)
select json_agg(distinct jsonb_build_array(relation::int8, classid::int8, objid::int8)) from reach
where classid in ('pg_type'::regclass, 'pg_proc'::regclass)
"""

# Operators, casts, aggregates, event triggers, functions by their arguments: what a dump takes
# along whatever relations are left out.
LINKS: Final = """
select json_agg(distinct jsonb_build_array(d.classid::int8, d.objid::int8,
    case when r.oid is null then d.refclassid else 'pg_class'::regclass end::int8,
    coalesce(r.oid, e.oid, d.refobjid)::int8))
from pg_depend d
left join pg_type t on d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
left join pg_class r on r.oid = coalesce(nullif(e.typrelid, 0), t.typrelid) and r.relkind <> 'c'
  or d.refclassid = 'pg_class'::regclass and r.oid = d.refobjid and r.relkind <> 'c'
where d.deptype in ('n', 'a') and d.objid >= 16384 and d.refobjid >= 16384
  and d.refclassid in ('pg_type'::regclass, 'pg_proc'::regclass, 'pg_class'::regclass)
  and d.classid in ('pg_type'::regclass, 'pg_proc'::regclass, 'pg_operator'::regclass,
    'pg_cast'::regclass, 'pg_opclass'::regclass, 'pg_event_trigger'::regclass)
  and not exists (select from pg_depend m
    where m.classid = d.classid and m.objid = d.objid and m.deptype = 'e')
"""

# Publications with the tables that they name; the entries of tables and (since 15) of schemas.
PUBLICATIONS: Final = """
select json_agg(json_build_array('pg_publication'::regclass::int8, p.oid::int8, pubname, coalesce((
    select json_agg(json_build_array('pg_publication_rel'::regclass::int8, oid::int8,
      prrelid::int8)) from pg_publication_rel where prpubid = p.oid), '[]'), coalesce((
    select json_agg(json_build_array(classid::int8, objid::int8)) from pg_depend
    where refclassid = 'pg_publication'::regclass and refobjid = p.oid
      and classid = to_regclass('pg_publication_namespace')), '[]')))
from pg_publication p
"""

PARTS: Final = """
select json_agg(json_build_array(relation::int8, classid::int8, objid::int8)) from (
  select ev_class, 'pg_rewrite'::regclass::oid, oid from pg_rewrite where ev_class >= 16384
  union all select indrelid, 'pg_class'::regclass, indexrelid from pg_index
    where indexrelid >= 16384
  union all select tgrelid, 'pg_trigger'::regclass, oid from pg_trigger where not tgisinternal
) as part (relation, classid, objid)
join pg_class c on c.oid = relation and relkind in ('v', 'm')
"""
