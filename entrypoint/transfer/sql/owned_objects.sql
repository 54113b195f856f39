-- Every object with an owner of its own, and the owner.
-- A sequence follows the table that owns it; a row type or an array type follows its relation or
-- its element type.
with owned (classid, objid, owner) as (
  select 'pg_class'::regclass::oid, oid, relowner from pg_class c
  where relkind in ('r', 'p', 'v', 'm', 'S', 'f') and not exists (
    select from pg_depend d where relkind = 'S' and d.objid = c.oid
      and \ir ../../postgres/sql/owned_sequence.sql
    )
  union all select 'pg_type'::regclass, t.oid, typowner from pg_type t
  left join pg_class c on c.oid = typrelid where coalesce(relkind, 'c') = 'c' and not exists (
    select from pg_type e where e.typarray = t.oid)
  union all select 'pg_proc'::regclass, oid, proowner from pg_proc
  union all select 'pg_namespace'::regclass, oid, nspowner from pg_namespace
  union all select 'pg_operator'::regclass, oid, oprowner from pg_operator
  union all select 'pg_opclass'::regclass, oid, opcowner from pg_opclass
  union all select 'pg_opfamily'::regclass, oid, opfowner from pg_opfamily
  union all select 'pg_collation'::regclass, oid, collowner from pg_collation
  union all select 'pg_conversion'::regclass, oid, conowner from pg_conversion
  union all select 'pg_ts_dict'::regclass, oid, dictowner from pg_ts_dict
  union all select 'pg_ts_config'::regclass, oid, cfgowner from pg_ts_config
  union all select 'pg_statistic_ext'::regclass, oid, stxowner from pg_statistic_ext
  union all select 'pg_publication'::regclass, oid, pubowner from pg_publication
  union all select 'pg_foreign_server'::regclass, oid, srvowner from pg_foreign_server
  union all select 'pg_largeobject'::regclass, oid, lomowner from pg_largeobject_metadata)
select classid::int8, objid::int8, type, identity, pg_get_userbyid(owner)::text from owned
cross join pg_identify_object(classid, objid, 0) where {which} order by classid, objid
