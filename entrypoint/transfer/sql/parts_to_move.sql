-- Objects that ALTER does not move with their table or type, and their owners.
-- Those are extended statistics, multiranges, and the functions that make ranges.
select 'STATISTICS', format('%%I.%%I', nspname, stxname), nspname::text, pg_get_userbyid(stxowner)::text
from pg_statistic_ext s join pg_namespace n on n.oid = stxnamespace
where stxrelid = any (%(relations)s)
union all select 'TYPE', format('%%I.%%I', nspname, typname), nspname, pg_get_userbyid(typowner)
from pg_range join pg_type t on t.oid = rngmultitypid join pg_namespace n on n.oid = typnamespace
where rngtypid = any (%(types)s)
union all select distinct 'FUNCTION',
  format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid)), nspname,
  pg_get_userbyid(proowner) from pg_range join pg_depend d on d.refclassid = 'pg_type'::regclass
  and d.refobjid in (rngtypid, rngmultitypid)
join pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid and d.deptype = 'i'
join pg_namespace n on n.oid = pronamespace where rngtypid = any (%(types)s)
