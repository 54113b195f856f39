-- Which schemas of this database are quarantines, and how large they are.
select nspname, description, case when %s then coalesce((
  select sum(pg_total_relation_size(c.oid)) from pg_class c
  where relnamespace = n.oid and relkind in ('r', 'm', 'S')), 0)::int8 else 0 end
from pg_catalog.pg_namespace n
join pg_catalog.pg_description on objoid = n.oid and classoid = 'pg_namespace'::regclass
where starts_with(description, %s)
