-- Objects that only a superuser may make.
with member as materialized (
  select classid, objid from pg_depend
  where deptype = 'e' or deptype = 'i' and classid = 'pg_proc'::regclass
), privileged (classid, objid) as (
  select 'pg_proc'::regclass::oid, p.oid from pg_proc p join pg_language l on l.oid = prolang
  left join pg_aggregate a on aggfnoid = p.oid
  where prokind <> 'a' and not lanpltrusted or proleakproof or aggtranstype = 'internal'::regtype
    or aggmtranstype = 'internal'::regtype or exists (
      select from unnest(proconfig) as each join pg_settings s
        on lower(s.name) = lower(split_part(each, '=', 1)) where s.context = 'superuser')
  union all select 'pg_type'::regclass, t.oid from pg_type t where typtype = 'b' and not exists (
    select from pg_type e where e.typarray = t.oid)
  union all select 'pg_opclass'::regclass, oid from pg_opclass
  union all select 'pg_opfamily'::regclass, oid from pg_opfamily
  union all select 'pg_cast'::regclass, oid from pg_cast where castmethod = 'b'
  union all select 'pg_language'::regclass, oid from pg_language
  union all select 'pg_foreign_data_wrapper'::regclass, oid from pg_foreign_data_wrapper
  union all select 'pg_ts_parser'::regclass, oid from pg_ts_parser
  union all select 'pg_ts_template'::regclass, oid from pg_ts_template)
select classid::int8, objid::int8, type, identity from privileged
cross join pg_identify_object(classid, objid, 0)
where objid >= 16384 and (classid, objid) not in (select classid, objid from member) order by 3, 4
