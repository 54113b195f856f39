-- Whether our role is a superuser, and a lesser role has created something here, or may.
-- pg_shdepend has the owner of everything, except of objects of the first superuser.
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
