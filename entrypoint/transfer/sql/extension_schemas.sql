-- Extensions, oldest first because one may need another.
-- With schemas that they did not create, and tables whose rows a dump contains.
select e.extname::text, n.nspname::text, case when n.oid >= 16384 and not exists (
  select from pg_depend d where d.classid = 'pg_namespace'::regclass and d.objid = n.oid
    and d.deptype = 'e') then n.oid::int8 end, coalesce(extconfig::int8[], '{}')
from pg_extension e join pg_namespace n on n.oid = extnamespace where e.extname = any (%s)
order by e.oid
