-- Roles of transfers whose session is gone, and that no session has logged in as.
select rolname::text from pg_catalog.pg_roles r left join pg_catalog.pg_shdescription d
  on d.objoid = r.oid and d.classoid = 'pg_catalog.pg_authid'::regclass
where starts_with(rolname, %(prefix)s) and not exists (
  select from pg_catalog.pg_stat_activity a where a.usename = rolname
    or d.description = %(note)s || pid || '/' || extract(epoch from backend_start)::text)
