-- Tables of users' schemas that have rows.
select n.nspname, c.relname from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = relnamespace
where relkind = 'r' and relpersistence <> 't' and left(nspname, 3) <> 'pg_'
  and nspname <> 'information_schema' and pg_relation_size(c.oid) > 0 and not exists (
    select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
      and d.deptype = 'e')
