-- Which objects applications created in a database, and which objects use them.
-- An extension owns its members, and everything in a schema that is a member. Every relation of a
-- partition tree counts for its root. Rows are the greater of two estimates: the planner's is as
-- old as the last ANALYZE, and the statistics' begins with the server's last crash.
with recursive space as materialized (
  select n.oid, nspname, obj_description(n.oid, 'pg_namespace') as comment from pg_namespace n
  where \ir user_schema.sql
    and not exists (select from pg_depend where classid = 'pg_namespace'::regclass and objid = n.oid
      and deptype = 'e')
), \ir members.sql
, tree (root, oid) as (
  select c.oid, c.oid from pg_class c
  where relnamespace in (select oid from space) and relkind in ('r', 'p', 'f', 'v', 'm', 'S', 'c')
    and not relispartition and relpersistence <> 't'
  union all
  select root, inhrelid from tree
  join pg_inherits on inhparent = tree.oid
  join pg_class p on p.oid = inhrelid and p.relispartition
), measure as (
  select root, sum(case when relkind in ('r', 'm') then
      greatest(reltuples, pg_stat_get_live_tuples(c.oid)) end)::int8 as rows,
    sum(case when %(sizes)s and relkind in ('r', 'm', 'S') then pg_total_relation_size(c.oid) end
      )::int8 as size_bytes
  from tree join pg_class c on c.oid = tree.oid group by root
), owned as materialized (
  select objid from pg_depend d where \ir owned_sequence.sql
), follower (classid, objid) as (
  select 'pg_type'::regclass::oid, t.oid from pg_type t join space s on s.oid = typnamespace
  left join pg_class c on c.oid = typrelid
  where typtype in ('e', 'd', 'r') or typtype = 'b' and typcategory <> 'A' or c.relkind = 'c'
  union all select 'pg_proc'::regclass, p.oid from pg_proc p join space s on s.oid = pronamespace
  union all select 'pg_class'::regclass, c.oid from pg_class c join space s on s.oid = relnamespace
  where relkind = 'S' and c.oid not in (select objid from owned)
), reach (rootclass, root, classid, objid) as (
  select classid, objid, classid, objid from follower
  where (classid, objid) not in (select classid, objid from member)
  union
  select rootclass, r.root, u.classid, u.objid from reach r
  join pg_depend d on d.refclassid = r.classid and d.refobjid = r.objid and d.deptype <> 'e'
    and (r.classid <> 'pg_class'::regclass or r.objid = r.root)  -- not past a table
  cross join lateral (
    select 'pg_class'::regclass::oid, adrelid from pg_attrdef a
    where d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
    union all select case conrelid when 0 then 'pg_type'::regclass else 'pg_class'::regclass end,
      coalesce(nullif(conrelid, 0), contypid) from pg_constraint c
    where d.classid = 'pg_constraint'::regclass and c.oid = d.objid
    union all select 'pg_class'::regclass, tgrelid from pg_trigger t
    where d.classid = 'pg_trigger'::regclass and t.oid = d.objid
    union all select 'pg_class'::regclass, ev_class from pg_rewrite w
    where d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
    union all select 'pg_class'::regclass, polrelid from pg_policy p
    where d.classid = 'pg_policy'::regclass and p.oid = d.objid
    union all select case relkind when 'c' then 'pg_type'::regclass else 'pg_class'::regclass end,
      case relkind when 'c' then reltype else coalesce(indrelid, c.oid) end
    from pg_class c left join pg_index on indexrelid = c.oid
    where d.classid = 'pg_class'::regclass and c.oid = d.objid
    union all select d.classid, d.objid
    where d.classid in ('pg_type'::regclass, 'pg_proc'::regclass)
  ) u (classid, objid)
), used (classid, objid, names) as (
  select rootclass, r.root, array_agg(distinct coalesce(relname, typname, proname)::text)
  from reach r left join tree on classid = 'pg_class'::regclass and tree.oid = objid
  left join pg_class c on c.oid = tree.root and relnamespace not in (
    select oid from space where starts_with(comment, %(quarantine)s))
  left join pg_type t on classid = 'pg_type'::regclass and t.oid = objid and typcategory <> 'A'
  left join pg_proc p on classid = 'pg_proc'::regclass and p.oid = objid
  where (classid, objid) <> (rootclass, r.root) and coalesce(relname, typname, proname) is not null
  group by 1, 2
)
select case relkind when 'r' then 'table' when 'p' then 'table' when 'f' then 'foreign table'
    when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
    else 'type' end, nspname, relname, null, rows, size_bytes, coalesce(names, '{}'), comment,
  case when relname = any(%(doubtful)s) then array(
    select attname::text from pg_attribute where attrelid = c.oid and attnum > 0
      and not attisdropped) end
from measure join pg_class c on c.oid = root join space s on s.oid = relnamespace
left join used on classid = case relkind when 'c' then 'pg_type'::regclass
    else 'pg_class'::regclass end and objid = case relkind when 'c' then reltype else c.oid end
where ('pg_class'::regclass::oid, c.oid) not in (select classid, objid from member)
  and (relkind <> 'S' or c.oid not in (select objid from owned))
union all
select 'type', nspname, typname, null, null, null, coalesce(names, '{}'), comment, null
from pg_type t join space s on s.oid = typnamespace
left join used on classid = 'pg_type'::regclass and objid = t.oid
where (typtype in ('e', 'd', 'r') or typtype = 'b' and typcategory <> 'A')
  and ('pg_type'::regclass::oid, t.oid) not in (select classid, objid from member)
union all
select case prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end,
  nspname, proname, pg_get_function_identity_arguments(p.oid), null, null, coalesce(names, '{}'),
  comment, null
from pg_proc p join space s on s.oid = pronamespace
left join used on classid = 'pg_proc'::regclass and objid = p.oid
where ('pg_proc'::regclass::oid, p.oid) not in (select classid, objid from member)
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass
    and d.objid = p.oid and d.deptype = 'i')  -- the constructors of a range
order by 2, 3, 1, 4
