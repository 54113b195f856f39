-- Databases in which these roles own something or have rights.
select distinct datname::text from pg_catalog.pg_shdepend d
join pg_catalog.pg_database b on b.oid = d.dbid and datallowconn
where refclassid = 'pg_catalog.pg_authid'::regclass
  and refobjid in (select oid from pg_catalog.pg_roles where rolname = any (%s))
