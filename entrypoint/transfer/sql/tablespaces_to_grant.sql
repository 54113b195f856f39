-- Tablespaces that what moves is in, quoted.
select distinct quote_ident(spcname) from pg_catalog.pg_tablespace s
join pg_catalog.pg_class c on s.oid = reltablespace
left join pg_catalog.pg_index on indexrelid = c.oid where coalesce(indrelid, c.oid) = any (%s)
