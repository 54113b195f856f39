-- The units that depend on others, and the parts by which they do.
with recursive \ir units_alone.sql
, \ir units.sql
, edge as (
  select case when um.extension > 0 then 'pg_extension'::regclass::oid
      else coalesce(u.class, d.classid) end as userclass,
    coalesce(um.extension, u.unit, d.objid) as userid,
    case when rm.extension > 0 then 'pg_extension'::regclass::oid
      else coalesce(r.class, d.refclassid) end as usedclass,
    coalesce(rm.extension, r.unit, d.refobjid) as usedid,
    case when u.kind is not null then u.kind when c.relkind in ('r', 'p', 'f')
      and attname is not null then case attgenerated when '' then 'column' else 'generated' end
      end as kind,
    case when u.kind is not null then u.name when c.relkind in ('r', 'p', 'f') then attname
      end as name,
    coalesce(u.entryclass, 0) as entryclass, coalesce(u.entry, 0) as entry,
    case when r.kind = 'sequence' then d.refclassid else 0 end as viaclass,
    case when r.kind = 'sequence' then d.refobjid else 0 end as viaid,
    u.class is not null as userknown, r.class is not null as usedknown from pg_depend d
  left join lifted u on u.classid = d.classid and u.objid = d.objid
  left join lifted r on r.classid = d.refclassid and r.objid = d.refobjid
  left join member um on um.classid = coalesce(u.class, d.classid)
    and um.objid = coalesce(u.unit, d.objid) and u.kind is null
  left join member rm on rm.classid = coalesce(r.class, d.refclassid)
    and rm.objid = coalesce(r.unit, d.refobjid)
  left join pg_class c on u.class = 'pg_class'::regclass and c.oid = u.unit
  left join pg_attribute a on d.classid = 'pg_class'::regclass and d.objsubid > 0
    and attrelid = d.objid and attnum = d.objsubid
  where d.deptype <> 'e' and d.objid >= 16384 and d.refobjid >= 16384
    and d.refclassid <> 'pg_namespace'::regclass)
select distinct userclass::int8, userid::int8, usedclass::int8, usedid::int8, kind, name::text,
  quote_ident(name), entryclass::int8, entry::int8, viaclass::int8, viaid::int8, userknown,
  usedknown from edge where (userclass, userid) <> (usedclass, usedid) and userid > 0 and usedid > 0
  -- A publication does not need its tables; the plan reports it by itself.
  and (userclass <> 'pg_publication'::regclass or usedclass <> 'pg_class'::regclass)
