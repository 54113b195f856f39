-- The grants that a role needs to connect and read large objects.
\ir grant_to_connect.sql
union all select 'SELECT', format('LARGE OBJECT %%s', oid) from pg_largeobject_metadata
