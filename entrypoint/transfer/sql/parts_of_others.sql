-- What goes to the quarantine with what moves, and has another owner.
-- What goes to the quarantine with what moves, and has an owner of its own: extended statistics, the
-- functions that make ranges, and before PostgreSQL 17 multiranges.
select format('STATISTICS %%I.%%I', nspname, stxname)
from pg_catalog.pg_statistic_ext s join pg_catalog.pg_namespace n on n.oid = stxnamespace
where stxrelid = any (%(relations)s) and pg_get_userbyid(stxowner) <> %(role)s
union
select format('FUNCTION %%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid))
from pg_catalog.pg_range
join pg_catalog.pg_depend d on d.refclassid = 'pg_type'::regclass
  and d.refobjid in (rngtypid, rngmultitypid)
join pg_catalog.pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
  and d.deptype = 'i'
join pg_catalog.pg_namespace n on n.oid = pronamespace
where rngtypid = any (%(types)s) and pg_get_userbyid(proowner) <> %(role)s
union
select format('TYPE %%I.%%I', nspname, typname)
from pg_catalog.pg_range join pg_catalog.pg_type t on t.oid = rngmultitypid
join pg_catalog.pg_namespace n on n.oid = typnamespace
where rngtypid = any (%(types)s) and pg_get_userbyid(typowner) <> %(role)s
  and current_setting('server_version_num')::int < 170000
