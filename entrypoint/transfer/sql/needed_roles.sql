-- Roles that what moves needs: owners, grantees, and roles with settings for the database.
-- pg_shdepend has no entry for the bootstrap superuser.
select distinct rolname::text from pg_catalog.pg_shdepend d
join pg_catalog.pg_database b on b.oid = d.dbid and datname = current_database()
join pg_catalog.pg_roles r on r.oid = d.refobjid
left join pg_catalog.pg_policy p on d.classid = 'pg_policy'::regclass and p.oid = d.objid
where d.refclassid = 'pg_authid'::regclass and coalesce(p.polrelid, d.objid) <> all (%(staying)s)
  and not exists (select from pg_catalog.pg_type where oid = d.objid
    and d.classid = 'pg_type'::regclass and typrelid = any (%(staying)s))
