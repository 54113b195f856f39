-- Functions and types of schemas.
select case prokind when 'p' then 'PROCEDURE' when 'a' then 'AGGREGATE' else 'FUNCTION' end,
  format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)),
  'pg_proc'::regclass::int8, p.oid::int8 from pg_proc p join pg_namespace n on n.oid = pronamespace
where nspname = any (%(schemas)s) and not exists (select from pg_depend d
  where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'i')
union all select 'TYPE', format('%%I.%%I', nspname, typname), 'pg_type'::regclass::int8, t.oid::int8
from pg_type t join pg_namespace n on n.oid = typnamespace
where nspname = any (%(schemas)s) and (typtype in ('e', 'd', 'r') or typtype = 'c' and exists (
  select from pg_class where oid = typrelid and relkind = 'c'))
