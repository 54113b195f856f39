-- Indexes with NULLS NOT DISTINCT.
select i.relname from pg_index x join pg_class i on i.oid = indexrelid
where indrelid = any (%(oids)s) and to_jsonb(x) ->> 'indnullsnotdistinct' = 'true'
