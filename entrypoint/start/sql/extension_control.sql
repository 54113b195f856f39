-- An extension's schema, the schemas of those it requires, and whether our role is a superuser.
select v.schema, v.relocatable,
  array (select nspname::text from pg_extension x join pg_namespace n on n.oid = extnamespace
         where extname = any (v.requires)),
  (select rolsuper from pg_roles where rolname = session_user)
from pg_available_extensions e
join pg_available_extension_versions v on v.name = e.name and v.version = e.default_version
where e.name = %s
