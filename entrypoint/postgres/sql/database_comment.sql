-- The comment of a database, and the server's clock.
select coalesce(shobj_description(oid, 'pg_database'), ''),
  to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
from pg_catalog.pg_database where datname = %s
