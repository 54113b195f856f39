-- The types and the identities of the objects in a list.
select number, type, identity
from unnest(%s::int8[], %s::int8[], %s::int8[]) as entry (number, classid, objid)
cross join lateral pg_identify_object(classid::oid, objid::oid, 0) where identity is not null
