-- The unit of each object: CTEs, the last of which is lifted.
-- A row has an object, its unit, and the part: kind, name, and entry in a dump. A unit's own row
-- has no part. Unit 0 marks what the server keeps for itself, such as TOAST.
owned as materialized (
  select distinct on (objid) objid, refobjid from pg_depend d
  join pg_class s on s.oid = objid and relkind = 'S' where \ir ../../postgres/sql/owned_sequence.sql
), con (oid, root) as materialized (
  select oid, oid from pg_constraint where conparentid = 0
  union all select k.oid, con.root from con join pg_constraint k on k.conparentid = con.oid
), constrained as materialized (
  select k.oid, case when k.conrelid > 0 then 'pg_class' else 'pg_type' end::regclass::oid as class,
    case when k.conrelid > 0 then k.conrelid else k.contypid end as unit,
    case when k.conrelid > 0 then case k.contype when 'f' then 'fk' when 'c' then 'check'
      when 'n' then 'check' when 't' then 'trigger' else 'index' end end as kind, r.conname as name
  from pg_constraint k join con using (oid) join pg_constraint r on r.oid = con.root
), typed as materialized (
  select t.oid,
    case when c.relkind <> 'c' then 'pg_class' else 'pg_type' end::regclass::oid as class,
    case when c.relkind <> 'c' then c.oid else b.oid end as unit
  from pg_type t left join pg_type e on e.typarray = t.oid
  left join pg_range r on r.rngmultitypid = coalesce(e.oid, t.oid)
  join pg_type b on b.oid = coalesce(r.rngtypid, e.oid, t.oid)
  left join pg_class c on c.oid = b.typrelid where t.oid >= 16384
), lifted (classid, objid, class, unit, kind, name, entryclass, entry) as materialized (
  select 'pg_class'::regclass::oid, c.oid,
    case relkind when 'c' then 'pg_type' else 'pg_class' end::regclass::oid,
    case when relkind = 't' or relnamespace = 'pg_toast'::regnamespace then 0
      when relkind = 'c' then reltype else coalesce(indrelid, o.refobjid, c.oid) end,
    case when relkind in ('i', 'I') then 'index' when o.objid > 0 then 'sequence' end, relname,
    case when k.oid > 0 then 'pg_constraint' else 'pg_class' end::regclass::oid,
    coalesce(k.oid, c.oid)
  from pg_class c left join pg_index i on indexrelid = c.oid left join owned o on o.objid = c.oid
  left join pg_constraint k on k.conindid = c.oid and k.conrelid = i.indrelid
    and k.contype in ('p', 'u', 'x') where c.oid >= 16384
  union all select 'pg_type'::regclass, oid, class, unit, null, null, 0, 0 from typed
  union all
  select 'pg_constraint'::regclass, oid, class, unit, kind, name, 'pg_constraint'::regclass, oid
  from constrained
  union all select 'pg_attrdef'::regclass, d.oid, 'pg_class'::regclass, adrelid,
    case attgenerated when '' then 'default' else 'generated' end, attname, 'pg_attrdef'::regclass,
    d.oid from pg_attrdef d join pg_attribute on attrelid = adrelid and attnum = adnum
  union all select 'pg_trigger'::regclass, t.oid, coalesce(k.class, 'pg_class'::regclass),
    coalesce(k.unit, tgrelid), coalesce(k.kind, 'trigger'), coalesce(k.name, tgname),
    case when k.oid > 0 then 'pg_constraint' else 'pg_trigger' end::regclass, coalesce(k.oid, t.oid)
  from pg_trigger t left join constrained k on tgisinternal and k.oid = tgconstraint
  union all select 'pg_rewrite'::regclass, oid, 'pg_class'::regclass, ev_class,
    case when rulename <> '_RETURN' then 'rule' end, rulename, 'pg_rewrite'::regclass, oid
  from pg_rewrite
  union all select 'pg_policy'::regclass, oid, 'pg_class'::regclass, polrelid, 'policy', polname,
    'pg_policy'::regclass, oid from pg_policy
  union all
  select 'pg_statistic_ext'::regclass, oid, 'pg_class'::regclass, stxrelid, 'statistics', stxname,
    'pg_statistic_ext'::regclass, oid from pg_statistic_ext
  union all select 'pg_proc'::regclass, p.oid, coalesce(y.class, 'pg_proc'::regclass),
    coalesce(y.unit, p.oid), null, null, 0, 0 from pg_proc p left join (
    select distinct on (objid) objid, class, unit from pg_depend join typed on typed.oid = refobjid
    where classid = 'pg_proc'::regclass and refclassid = 'pg_type'::regclass and deptype = 'i'
  ) y on y.objid = p.oid where p.oid >= 16384
  union all select 'pg_cast'::regclass, k.oid, coalesce(typed.class, 'pg_cast'::regclass),
    coalesce(typed.unit, k.oid), null, null, 0, 0
  from pg_cast k left join pg_depend i on i.classid = 'pg_cast'::regclass and i.objid = k.oid
    and i.deptype = 'i' and i.refclassid = 'pg_type'::regclass and i.refobjid = castsource
  left join typed on typed.oid = i.refobjid where k.oid >= 16384
  union all select 'pg_amop'::regclass, oid, 'pg_opfamily'::regclass, amopfamily, null, null, 0, 0
  from pg_amop where oid >= 16384
  union all
  select 'pg_amproc'::regclass, oid, 'pg_opfamily'::regclass, amprocfamily, null, null, 0, 0
  from pg_amproc where oid >= 16384
  union all
  select 'pg_publication_rel'::regclass, oid, 'pg_publication'::regclass, prpubid, null, null, 0, 0
  from pg_publication_rel
  union all select distinct classid, objid, 0, 0, null, null, 0, 0 from pg_depend
  where classid = to_regclass('pg_publication_namespace')
  union all select 'pg_default_acl'::regclass, oid, 0, 0, null, null, 0, 0 from pg_default_acl
  union all select 'pg_namespace'::regclass, oid, 0, 0, null, null, 0, 0 from pg_namespace
  union all select classid, objid, classid, objid, null, null, 0, 0 from alone)
