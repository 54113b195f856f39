-- Tables of users' schemas that have rows.
select n.nspname, c.relname from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = relnamespace
where relkind = 'r' and pg_relation_size(c.oid) > 0 and \ir ../../postgres/sql/user_relation.sql
