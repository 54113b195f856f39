-- Whether we are a superuser where a role that is none has made something, or may.
-- Everything that has an owner is in pg_shdepend, but for what belongs to the first superuser.
with lesser as (
  select oid from pg_roles where not rolsuper and oid >= 16384
), here as (
  select oid, datdba, datacl from pg_database where datname = current_database()
)
select (select rolsuper from pg_roles where rolname = session_user) and (
  exists (select from here where datdba in (select oid from lesser))
  or exists (select from pg_shdepend d join here on d.dbid = here.oid where d.deptype = 'o'
    and d.refclassid = 'pg_authid'::regclass and d.refobjid in (select oid from lesser))
  or exists (select from pg_namespace cross join lateral aclexplode(nspacl) a
    where nspname not in ('pg_toast', 'information_schema') and a.privilege_type = 'CREATE'
      and (a.grantee = 0 or a.grantee in (select oid from lesser)))
  or exists (select from here cross join lateral aclexplode(datacl) a
    where a.privilege_type = 'CREATE' and (a.grantee = 0 or a.grantee in (select oid from lesser))))
