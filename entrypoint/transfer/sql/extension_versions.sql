-- The versions of these extensions in the database.
select extname::text, extversion from pg_catalog.pg_extension where extname = any (%s) order by 1
