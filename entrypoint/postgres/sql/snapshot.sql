-- Which tables, columns, constraints, enum values and invalid indexes a database has.
with space as materialized (
  select oid, nspname from pg_namespace where \ir user_schema.sql
), rel as materialized (
  select c.oid, nspname, relname, relkind, relfilenode, reltuples
  from pg_class c join space s on s.oid = relnamespace
  where relkind in ('r', 'p', 'f') and relpersistence <> 't' and not exists (select from pg_depend d
    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
)
select
  (select json_agg(json_build_array(oid::int8, nspname, relname, relkind, relfilenode::int8,
     reltuples::int8, relkind <> 'r' or has_table_privilege(oid, 'select')
     and not row_security_active(oid))) from rel),
  (select json_agg(json_build_array(attrelid::int8, attnum, attname)) from pg_attribute
   where attrelid in (select oid from rel) and attnum > 0 and not attisdropped),
  -- A constraint that is NOT ENFORCED (PostgreSQL 18) does not need validation.
  (select json_agg(json_build_array(oid::int8, conrelid::int8, conname,
     convalidated or to_jsonb(c) ->> 'conenforced' is not distinct from 'false'))
   from pg_constraint c where conrelid in (select oid from rel) and contype <> 'n'),
  (select json_agg(json_build_array(enumtypid::int8, enumlabel,
     case nspname when 'public' then '' else nspname || '.' end || typname))
   from pg_enum join pg_type t on t.oid = enumtypid join space s on s.oid = typnamespace),
  (select json_agg(json_build_array(indexrelid::int8,
     case nspname when 'public' then '' else quote_ident(nspname) || '.' end
       || quote_ident(i.relname)))
   from pg_index join rel on rel.oid = indrelid join pg_class i on i.oid = indexrelid
   where not indisvalid
     -- Our role may not see which index another role builds, but sees that session's locks.
     and not exists (select from pg_stat_progress_create_index p
       where p.datid = (select oid from pg_database where datname = current_database())
         and (index_relid = indexrelid or index_relid is null and exists (
           select from pg_locks l where l.pid = p.pid and l.relation = indrelid
             and l.database = p.datid and l.locktype = 'relation'))))
