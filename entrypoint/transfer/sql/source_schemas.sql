-- Schemas of users but for quarantines, and members of extensions: the CTEs space and member.
space as materialized (
  select n.oid, nspname from pg_namespace n
  where left(nspname, 3) <> 'pg_' and nspname <> 'information_schema'
    and not starts_with(coalesce(obj_description(n.oid, 'pg_namespace'), ''), 'entrypoint moved: ')
), member as materialized (
  select classid, objid, refobjid as extension from pg_depend
  where deptype = 'e' and refclassid = 'pg_extension'::regclass)
