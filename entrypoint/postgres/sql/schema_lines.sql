-- The schema of a database as rows of text: the CTE line.
-- Every branch yields rows as text, which begin with the kind of object. `member` are the members
-- of extensions, `rel` the relations that count, `typ` the types.
-- A column option that begins with `pg_` is the server's own: 17.12 counts changes in one.
-- Two columns are newer than PostgreSQL 13, the oldest supported version. Where `a.*` has no
-- `attcompression`, the name means that of `no_such_column`, one level out.
-- PostgreSQL writes an IN list over varchar with one cast of the whole array, and after a dump and
-- a restore with a cast of each element; the query reduces both to the form without a cast.
-- Comments between slashes mark where a transfer narrows the query to some relations, types or
-- functions, or leaves something out.
with \ir members.sql
, space as materialized (
  select oid, nspname from pg_namespace where \ir user_schema.sql
    and oid not in (select objid from member where classid = 'pg_namespace'::regclass)
), rel as materialized (
  select c.oid, nspname, relname, relkind, relpersistence, relrowsecurity, relforcerowsecurity,
         relreplident, relam, reloptions, reltoastrelid, reloftype, relpartbound
  from pg_class c join space s on s.oid = relnamespace
  where relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c') and relpersistence <> 't'
    and c.oid not in (select objid from member where classid = 'pg_class'::regclass) /* relations */
), typ as materialized (
  select t.oid, nspname, typname, typtype, typnotnull, typbasetype, typtypmod, typinput,
         typcollation, typdefault, typdefaultbin
  from pg_type t join space s on s.oid = typnamespace
  where (typtype in ('e', 'd', 'r', 'p') or typtype = 'b' and typcategory <> 'A')
    and t.oid not in (select objid from member where classid = 'pg_type'::regclass) /* types */
), line (text) as (
  select row('schema', nspname)::text from space
  union all
  select row('extension', extname, extversion, extnamespace::regnamespace)::text from pg_extension
  union all
  select row('relation', nspname, rel.relname, rel.relkind, rel.relpersistence, rel.relrowsecurity,
             rel.relforcerowsecurity, rel.relreplident, amname, rel.reloptions, t.reloptions,
             nullif(rel.reloftype, 0)::regtype, pg_get_expr(rel.relpartbound, rel.oid),
             case when rel.relkind = 'p' then pg_get_partkeydef(rel.oid)
               when rel.relkind in ('v', 'm') then pg_get_viewdef(rel.oid) end)::text
  from rel left join pg_class t on t.oid = rel.reltoastrelid
  left join pg_am on pg_am.oid = rel.relam
  union all
  select row('inherits', nspname, relname, inhparent::regclass,
             row_number() over (partition by inhrelid order by inhseqno))::text
  from pg_inherits join rel on rel.oid = inhrelid
  union all
  -- A default refers to no column; without the relation PostgreSQL writes it faster.
  select row('columns', nspname, relname)::text || string_agg(row(
               attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
               attstorage, (select attcompression from (select a.*) as later_than_13),
               nullif(attstattarget, -1),
               case when attoptions is not null then
                 (select array_agg(each order by each) from unnest(attoptions) each
                  where left(each, 3) <> 'pg_') end, attfdwoptions,
               nullif(nullif(attcollation, 0), 'default'::regcollation)::regcollation,
               pg_get_expr(adbin, case attgenerated when '' then 0 else adrelid end))::text,
             '' order by attnum)
  from pg_attribute a cross join (select null as attcompression) as no_such_column
  join rel on rel.oid = attrelid
  left join pg_attrdef on adrelid = attrelid and adnum = attnum
  where attnum > 0 and not attisdropped
    and (relkind in ('r', 'p', 'f', 'c') or relkind in ('v', 'm') and adbin is not null)
  group by attrelid, nspname, relname
  union all
  select row('constraint', rel.nspname, relname, typ.nspname, typname, conname, convalidated,
             pg_get_constraintdef(k.oid))::text
  from pg_constraint k left join rel on rel.oid = conrelid left join typ on typ.oid = contypid
  where coalesce(relname, typname) is not null and contype <> 't' /* left constraints */
  union all
  select row('index', nspname, rel.relname, indisvalid, indisreplident, inhparent::regclass,
             i.reloptions, conname, case when conname is null then pg_get_indexdef(indexrelid) end,
             case when indexprs is not null then
               (select array_agg((attnum, attstattarget)::text order by attnum)
                from pg_attribute where attrelid = indexrelid and attstattarget >= 0) end)::text
  from pg_index join rel on rel.oid = indrelid join pg_class i on i.oid = indexrelid
  left join pg_inherits on inhrelid = indexrelid
  left join pg_constraint on conindid = indexrelid and conrelid = indrelid
    and contype in ('p', 'u', 'x')  -- whose definition says the rest
  where true /* left indexes */
  union all
  select row('sequence', nspname, relname, format_type(seqtypid, null), seqstart, seqincrement,
             seqmin, seqmax, seqcache, seqcycle, refobjid::regclass, attname)::text
  from pg_sequence join rel on rel.oid = seqrelid
  left join pg_depend d on d.objid = seqrelid and \ir owned_sequence.sql
  left join pg_attribute on attrelid = refobjid and attnum = refobjsubid
  union all
  select row('type', nspname, typname, typtype, typnotnull,
             case typtype when 'd' then format_type(typbasetype, typtypmod)
               when 'b' then typinput::text end,
             case typtype when 'd' then typcollation::regcollation end,
             coalesce(pg_get_expr(typdefaultbin, 0), typdefault),
             (select array_agg(enumlabel order by enumsortorder) from pg_enum
              where enumtypid = typ.oid),
             (select row(format_type(rngsubtype, null),
                         (to_jsonb(r) ->> 'rngmultitypid')::regtype,  -- none in 13
                         rngcollation::regcollation, opcname, rngcanonical, rngsubdiff)
              from pg_range r join pg_opclass o on o.oid = rngsubopc
              where rngtypid = typ.oid))::text
  from typ
  union all
  select row('function', case when prokind = 'a' then
               (p.oid::regprocedure, pg_get_function_arguments(p.oid), proparallel,
                aggtranstype::regtype, aggmtranstype::regtype, aggsortop::regoperator, to_jsonb(g)
                - '{aggfnoid,aggtranstype,aggmtranstype,aggsortop}'::text[])::text
               else pg_get_functiondef(p.oid) end)::text
  from pg_proc p join space s on s.oid = pronamespace
  left join pg_aggregate g on aggfnoid = p.oid
  where p.oid not in (select objid from member where classid = 'pg_proc'::regclass) /* functions */
  union all
  -- Internal triggers enforce constraints, unless somebody turned them off.
  select row('trigger', tgenabled, case when tgisinternal
               then (nspname, relname, conname, tgfoid::regproc)::text
               else pg_get_triggerdef(t.oid) end)::text
  from pg_trigger t join rel on rel.oid = tgrelid
  left join pg_constraint k on k.oid = tgconstraint
  where (not tgisinternal or tgenabled <> 'O') and tgname <> 'entrypoint_guard' -- our own
    /* left triggers */
  union all
  select row('policy', nspname, relname, polname, polcmd, polpermissive,
             (select array_agg(role::text order by role::text)
              from unnest(polroles::regrole[]) as r (role)),
             pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))::text
  from pg_policy join rel on rel.oid = polrelid where true /* left policies */
  union all
  select row('rule', ev_enabled, pg_get_ruledef(w.oid))::text
  from pg_rewrite w join rel on rel.oid = ev_class
  where rulename <> '_RETURN' /* left rules */
  union all
  select row('statistics', nullif(stxstattarget, -1), pg_get_statisticsobjdef(x.oid))::text
  from pg_statistic_ext x join rel on rel.oid = stxrelid
  where true /* left statistics */
  union all
  -- Of rarer kinds, only which objects exist.
  select distinct row('object', type, identity)::text
  from pg_depend d cross join pg_identify_object(classid, objid, 0)
  where d.classid in (\ir rare_kinds.sql
      , 'pg_cast'::regclass)
    and objid >= 16384 and (classid, objid) not in (select classid, objid from member)
    and coalesce(left(schema, 3), '') <> 'pg_'
    and (d.classid <> 'pg_event_trigger'::regclass or identity <> 'entrypoint_guard')
)
