-- Whether a schema is a user's.
left(nspname, 3) <> 'pg_' and nspname <> 'information_schema'
