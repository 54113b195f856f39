-- Names of extensions' members that no function of the server has.
select refobjid::int8, name, nspname, classid = 'pg_proc'::regclass from (
  select m.refobjid, m.classid, coalesce(relname, typname, proname)::text as name,
    coalesce(relnamespace, typnamespace, pronamespace) as space
  from pg_depend m left join pg_class c on m.classid = 'pg_class'::regclass and c.oid = m.objid
  left join pg_type t on m.classid = 'pg_type'::regclass and t.oid = m.objid
  left join pg_proc p on m.classid = 'pg_proc'::regclass and p.oid = m.objid
  where m.deptype = 'e' and m.refclassid = 'pg_extension'::regclass
) each join pg_namespace n on n.oid = space
where name not in (select proname from pg_proc where pronamespace = 'pg_catalog'::regnamespace)
