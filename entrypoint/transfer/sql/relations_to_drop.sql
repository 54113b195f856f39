-- The relations of schemas, in an order in which each DROP takes little else along.
-- Views come first, children before their parents, and younger before older, because a foreign key
-- is younger than the table that it references.
with recursive space as (select oid, nspname from pg_namespace where nspname = any (%(schemas)s)
), descent (oid, level) as (
  select inhparent, 0 from pg_inherits
  union select inhrelid, level + 1 from descent join pg_inherits on inhparent = descent.oid
), depth (oid, level) as (select oid, max(level) from descent group by oid)
select case relkind when 'v' then 'VIEW' when 'm' then 'MATERIALIZED VIEW' when 'S' then 'SEQUENCE'
    when 'f' then 'FOREIGN TABLE' else 'TABLE' end, format('%%I.%%I', nspname, relname),
  'pg_class'::regclass::int8, c.oid::int8
from pg_class c join space s on s.oid = relnamespace left join depth on depth.oid = c.oid
where relkind in ('r', 'p', 'v', 'm', 'S', 'f')
order by case relkind when 'v' then 0 when 'm' then 1 when 'S' then 3 else 2 end,
  coalesce(level, 0) desc, c.oid desc
