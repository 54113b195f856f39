-- Objects of other schemas that a DROP would take along.
-- A table takes along its TOAST table and its array type, a type its casts and its multirange with
-- their functions, and a foreign key its triggers.
with recursive space as (
  select oid, nspname from pg_namespace where nspname = any (%(schemas)s)
), gone (classid, objid, objsubid) as (
  select first.*, 0 from unnest(%(classes)s::oid[], %(oids)s::oid[]) as first
  union all select 'pg_namespace'::regclass::oid, oid, 0 from space where %(oids)s::oid[] is null
  union select d.classid, d.objid, d.objsubid from gone
  join pg_depend d on d.refclassid = gone.classid and d.refobjid = gone.objid where d.deptype <> 'e'
)
select distinct pg_describe_object(classid, objid, objsubid) from gone
cross join pg_identify_object_as_address(classid, objid, 0) as address (type, names, args)
where not case classid
  when 'pg_type'::regclass then exists (
    select from pg_type t where t.oid = objid and typnamespace in (select oid from space))
  when 'pg_statistic_ext'::regclass then exists (
    select from pg_statistic_ext x join pg_class t on t.oid = stxrelid
    where x.oid = objid and t.relnamespace in (select oid from space))
  when 'pg_cast'::regclass then exists (
    select from pg_cast k join pg_type t on t.oid in (castsource, casttarget)
    where k.oid = objid and typnamespace in (select oid from space))
  when 'pg_constraint'::regclass then exists (
    select from pg_constraint k where k.oid = objid and (connamespace in (select oid from space)
      or contype = 'f' and connamespace = any (%(away)s)))
  else names[1] = 'pg_toast' or names[1] in (select nspname from space) end
  and not (classid in ('pg_proc'::regclass, 'pg_trigger'::regclass, 'pg_type'::regclass)
    and exists (select from pg_depend i where i.classid = gone.classid and i.objid = gone.objid
      and i.deptype = 'i')) order by 1
