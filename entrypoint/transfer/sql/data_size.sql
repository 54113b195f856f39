-- How large the tables and large objects are that a dump holds.
with \ir locked_relations.sql
select coalesce(sum(pg_table_size(oid)), 0)::int8 from pg_class
where oid = any (%s) and relkind = 'r' and oid not in (select oid from locked)
  or oid = 'pg_largeobject'::regclass and %s
