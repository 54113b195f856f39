-- The grants that a role needs to read what pg_dump and the comparison read.
-- Those are tables and sequences, the tables of extensions that pg_dump dumps, and functions that
-- PUBLIC may not call, because the planner may call them.
with \ir ../../postgres/sql/members.sql
select distinct 'USAGE', format('SCHEMA %%I', nspname) from pg_class c
join pg_namespace n on n.oid = relnamespace
where case when %(oids)s::oid[] is null then \ir ../../postgres/sql/user_schema.sql
  else c.oid = any (%(oids)s) end
union all select distinct 'USAGE', format('SCHEMA %%I', nspname) from pg_proc p
join pg_namespace n on n.oid = pronamespace where p.oid = any (%(functions)s)
union all select 'SELECT', format('%%I.%%I', nspname, relname) from pg_class c
join pg_namespace n on n.oid = relnamespace
where relkind in ('r', 'p', 'm', 'S') and relpersistence <> 't' and case
  when %(oids)s::oid[] is null then \ir ../../postgres/sql/user_schema.sql
    and ('pg_class'::regclass::oid, c.oid) not in (select classid, objid from member)
  else c.oid = any (%(oids)s) end
union all select 'SELECT', format('%%I.%%I', nspname, relname) from pg_extension
cross join unnest(extconfig) as each
join pg_class c on c.oid = each join pg_namespace n on n.oid = relnamespace
union all select 'EXECUTE', format('ROUTINE %%I.%%I(%%s)', nspname, proname,
    pg_get_function_identity_arguments(p.oid))
from pg_proc p join pg_namespace n on n.oid = pronamespace
where (p.oid = any (%(functions)s) or %(oids)s::oid[] is null and p.oid >= 16384
    and ('pg_proc'::regclass::oid, p.oid) not in (select classid, objid from member))
  and not exists (
    select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0)
