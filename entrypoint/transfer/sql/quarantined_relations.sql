-- Relations in quarantines.
select c.oid::int8 from pg_class c join pg_namespace n on n.oid = relnamespace
where nspname = any (%s) and relkind in ('r', 'p', 'v', 'm', 'S', 'f')
