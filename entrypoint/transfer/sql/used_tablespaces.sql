-- The tablespaces of what moves.
select distinct spcname::text from pg_catalog.pg_class c
join pg_catalog.pg_tablespace s on s.oid = reltablespace
left join pg_catalog.pg_index on indexrelid = c.oid
where coalesce(indrelid, c.oid) = any (%s) order by 1
