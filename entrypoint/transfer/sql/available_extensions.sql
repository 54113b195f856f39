-- Versions of these extensions that a server has, and whether only a superuser may create them.
select a.name::text, default_version, v.superuser and not v.trusted
from pg_catalog.pg_available_extensions a
join pg_catalog.pg_available_extension_versions v on v.name = a.name and version = default_version
where a.name = any (%s)
