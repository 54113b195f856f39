-- Which indexes are invalid, and which roles own tables.
select
  (select array_agg(indexrelid::regclass::text order by 1) from pg_catalog.pg_index i
   join pg_catalog.pg_class c on c.oid = indexrelid
   join pg_catalog.pg_namespace n on n.oid = relnamespace
   where not indisvalid and left(nspname, 3) <> 'pg_'
     and indexrelid not in (select index_relid from pg_catalog.pg_stat_progress_create_index
                            where index_relid is not null)),
  (select array_agg(distinct pg_catalog.pg_get_userbyid(relowner)) from pg_catalog.pg_class c
   join pg_catalog.pg_namespace n on n.oid = relnamespace
   where relkind in ('r', 'p') and \ir ../../postgres/sql/user_relation.sql
  )
