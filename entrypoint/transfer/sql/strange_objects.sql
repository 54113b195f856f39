-- Descriptions of objects of kinds that a plan does not know.
select class, id, pg_describe_object(class::oid, id::oid, 0)
from unnest(%s::int8[], %s::int8[]) as each (class, id)
where coalesce((pg_identify_object(class::oid, id::oid, 0)).schema, '') !~ '^pg_(temp|toast)'
