-- The bytes of the tables and large objects that a dump contains.
with \ir locked_relations.sql
select coalesce(sum(pg_table_size(oid)), 0)::int8 from pg_class
where oid = any (%s) and relkind = 'r' and oid not in (select oid from locked)
  or oid = 'pg_largeobject'::regclass and %s
