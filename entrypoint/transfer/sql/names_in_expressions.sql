-- Expressions that may look up an object by a text, such as nextval('x'::text).
-- Those call a user's function or a function of the server that takes a name, or cast to a reg*
-- type. The query reads the stored trees, because writing them as SQL would lock the relations in
-- them.
with looking as materialized (
  select ':funcid (' || string_agg(oid::text, '|') || '|[1-9][0-9]{4,}) '
    || '|:resulttype (24|2202|2203|2204|2205|2206|3734|3769|4191) ' as pattern
  from pg_proc where pronamespace = 'pg_catalog'::regnamespace and (
    proname in ('regclass', 'row_security_active', 'pg_get_serial_sequence', 'ts_stat',
      'ts_rewrite', 'pg_get_object_address')
    or proname ~ '^to_reg' or proname ~ '^query_to_xml' or proname ~ '^has_.*_privilege$')
), tree (catalog, unit, kind, name, class, entry, expression) as (
  select 'pg_class'::regclass::oid, adrelid,
    case attgenerated when '' then 'default' else 'generated' end, attname,
    'pg_attrdef'::regclass::oid, d.oid, adbin::text
  from pg_attrdef d join pg_attribute on attrelid = adrelid and attnum = adnum
  union all select case when conrelid > 0 then 'pg_class' else 'pg_type' end::regclass,
    case when conrelid > 0 then conrelid else contypid end,
    case when conrelid > 0 then 'check' end, conname, 'pg_constraint'::regclass, oid, conbin::text
  from pg_constraint where contype = 'c'
  union all select 'pg_type'::regclass, oid, null, null, 0, 0, typdefaultbin::text
  from pg_type where typtype = 'd'
  union all
  select 'pg_class'::regclass, polrelid, 'policy', polname, 'pg_policy'::regclass, oid, each
  from pg_policy cross join unnest(array[polqual::text, polwithcheck::text]) as each
  union all
  select 'pg_class'::regclass, ev_class, case when rulename <> '_RETURN' then 'rule' end, rulename,
    'pg_rewrite'::regclass, oid, each
  from pg_rewrite cross join unnest(array[ev_qual::text, ev_action::text]) as each
  union all
  select 'pg_class'::regclass, tgrelid, 'trigger', tgname, 'pg_trigger'::regclass, oid, tgqual::text
  from pg_trigger where not tgisinternal
  union all
  select 'pg_class'::regclass, indrelid, 'index', relname, 'pg_class'::regclass, i.oid, each
  from pg_index join pg_class i on i.oid = indexrelid
  cross join unnest(array[indexprs::text, indpred::text]) as each
  union all select 'pg_proc'::regclass, oid, null, null, 0, 0, each
  from pg_proc cross join unnest(array[proargdefaults::text, prosqlbody::text]) as each)
select catalog::int8, unit::int8, kind, name::text, quote_ident(name), class::int8, entry::int8,
  expression from tree where unit >= 16384
  and expression like any ('{%:consttype 25 %,%:consttype 1043 %,%:consttype 19 %,'
    '%:consttype 1009 %,%:consttype 1015 %,%:consttype 1003 %}')
  and expression ~ (select pattern from looking)
  and (catalog, unit) not in (select classid, objid from pg_depend where deptype = 'e')
