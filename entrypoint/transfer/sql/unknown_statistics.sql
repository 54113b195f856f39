-- Tables that the planner knows too little about after a restore.
-- Restored statistics suffice, except for extended ones, which no dump contains.
select nspname, relname from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = relnamespace
where relkind in ('r', 'm') and relpersistence <> 't' and \ir ../../postgres/sql/user_schema.sql
  and (exists (select from pg_catalog.pg_statistic_ext where stxrelid = c.oid)
  or pg_relation_size(c.oid) > 0 and not exists (
    select from pg_catalog.pg_stats where schemaname = nspname and tablename = relname))
