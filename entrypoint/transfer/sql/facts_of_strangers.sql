-- Rights to schemas and large objects, operators and casts, as rows of text.
-- The source may have more of them, those of others. Content that a restore evaluates could make
-- another object in place of one that has only a name, such as an operator.
select row('object', 'rights of a schema', nspname, pg_get_userbyid(nspowner), (
  select array_agg(item::text order by item::text)
  from unnest(coalesce(nspacl, acldefault('n', nspowner))) as each (item)
  where split_part(item::text, '=', 1) <> all (%(ours)s)))::text
from pg_namespace where %(rights)s and \ir ../../postgres/sql/user_schema.sql
union all select row('object', 'rights of a large object', oid, pg_get_userbyid(lomowner), (
  select array_agg(item::text order by item::text)
  from unnest(coalesce(lomacl, acldefault('L', lomowner))) as each (item)
  where split_part(item::text, '=', 1) <> all (%(ours)s)))::text
from pg_largeobject_metadata where %(blobs)s
union all
select row('object', 'operator', oid::regoperator, oprcode, oprcanmerge, oprcanhash, oprrest,
  oprjoin, oprcom::regoperator, oprnegate::regoperator)::text from pg_operator where oid >= 16384
union all
select row('object', 'cast', castsource::regtype, casttarget::regtype, castfunc::regprocedure,
  castcontext, castmethod)::text from pg_cast where oid >= 16384
