-- Versions of these extensions, as the database has them.
select extname::text, extversion from pg_catalog.pg_extension where extname = any (%s) order by 1
