-- Names of a quarantine's objects that its schema of origin has again, in pg_class or pg_type.
select distinct c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_class o on o.relname = c.relname join pg_namespace p on p.oid = o.relnamespace
where n.nspname = %(schema)s and p.nspname = %(origin)s
union select t.typname from pg_type t join pg_namespace n on n.oid = t.typnamespace
join pg_type o on o.typname = t.typname join pg_namespace p on p.oid = o.typnamespace
where n.nspname = %(schema)s and p.nspname = %(origin)s and t.typrelid = 0 and t.typelem = 0
order by 1
