-- Expressions that a restore evaluates for each row, and that use an object of users.
-- The restore evaluates them with an empty search_path.
with expression (kind, name, relation, text, classid, objid) as (
  select 'index', i.relname, indrelid, pg_get_expr(indexprs, indrelid), 'pg_class'::regclass,
    indexrelid from pg_index join pg_class i on i.oid = indexrelid where indexprs is not null
  union all
  select 'index', i.relname, indrelid, pg_get_expr(indpred, indrelid), 'pg_class', indexrelid
  from pg_index join pg_class i on i.oid = indexrelid where indpred is not null
  union all select 'check', conname, conrelid, pg_get_expr(conbin, conrelid), 'pg_constraint', oid
  from pg_constraint where contype = 'c' and conrelid > 0
  union all select 'generated', attname, attrelid, pg_get_expr(adbin, adrelid), 'pg_attrdef', d.oid
  from pg_attribute join pg_attrdef d on adrelid = attrelid and adnum = attnum
  where attgenerated <> '')
select kind, name, relation::int8, text from expression e
where relation = any (%(oids)s) and exists (
  select from pg_depend d where refobjid >= 16384 and (d.classid = e.classid and d.objid = e.objid
      or kind = 'generated' and d.classid = 'pg_class'::regclass and d.objid = relation)
    and refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass))
