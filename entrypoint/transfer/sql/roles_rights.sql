-- What each of these roles may do.
select rolname::text, rolsuper, rolcreatedb or rolsuper, rolbypassrls or rolsuper,
  has_database_privilege(oid, current_database(), 'create')
from pg_catalog.pg_roles where rolname = any (%s)
