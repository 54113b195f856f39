-- Whether a role that is no superuser owns an object in one of these schemas.
select exists (
  select from pg_shdepend d join pg_roles r on r.oid = d.refobjid and not rolsuper
  join pg_database b on b.oid = d.dbid and datname = current_database()
  cross join lateral pg_identify_object(d.classid, d.objid, 0) o
  where d.refclassid = 'pg_authid'::regclass and d.deptype = 'o' and o.schema = any (%s))
