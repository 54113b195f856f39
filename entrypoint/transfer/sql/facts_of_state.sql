-- Content of materialized views and large objects, and columns of views, as rows of text.
select row('populated', oid::regclass, relispopulated)::text from pg_class
where oid = any (%(oids)s) and relkind = 'm'
union all
-- Versions write the text of a view in the same words, but in another order.
select row('output', attrelid::regclass, array_agg(
    row(attname, format_type(atttypid, atttypmod)) order by attnum))::text
from pg_attribute join pg_class c on c.oid = attrelid
where attrelid = any (%(oids)s) and relkind in ('v', 'm') and attnum > 0 group by attrelid
union all select row('large object', oid, md5(lo_get(oid)))::text from pg_largeobject_metadata
where %(blobs)s
