-- Indexes that take nulls for equal.
select i.relname from pg_index x join pg_class i on i.oid = indexrelid
where indrelid = any (%(oids)s) and to_jsonb(x) ->> 'indnullsnotdistinct' = 'true'
