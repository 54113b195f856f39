-- Sizes of relations that no session has locked.
with \ir locked_relations.sql
select c.oid::int8, pg_total_relation_size(c.oid) from pg_class c
where c.oid = any (%s) and relkind in ('r', 'm', 'S') and c.oid not in (select oid from locked)
