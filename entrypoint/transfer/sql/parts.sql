-- Views and domains, each with the other entries that a dump has for it.
-- A dump may write the checks of a domain apart from it.
select json_agg(json_build_array('pg_class'::regclass::int8, relation::int8, classid::int8,
  objid::int8)) from (
  select ev_class, 'pg_rewrite'::regclass::oid, oid from pg_rewrite where ev_class >= 16384
  union all select indrelid, 'pg_class'::regclass, indexrelid from pg_index
    where indexrelid >= 16384
  union all select tgrelid, 'pg_trigger'::regclass, oid from pg_trigger where not tgisinternal
  union all select stxrelid, 'pg_statistic_ext'::regclass, oid from pg_statistic_ext
) as part (relation, classid, objid) join pg_class c on c.oid = relation and relkind in ('v', 'm')
union all select json_agg(json_build_array('pg_type'::regclass::int8, contypid::int8,
  'pg_constraint'::regclass::int8, oid::int8)) from pg_constraint where contypid >= 16384
