-- Columns of tables, and the type of each column whose cast to text writes all of a value.
-- The cast of a type that somebody made may not, and that of char(n) forgets blanks.
select attrelid::int8, attname::text, (select typname::text from pg_catalog.pg_type t
  where t.oid = atttypid and typnamespace = 'pg_catalog'::regnamespace and typname in ('bool',
    'bytea', 'date', 'float4', 'float8', 'int2', 'int4', 'int8', 'interval', 'json', 'jsonb',
    'numeric', 'text', 'time', 'timestamp', 'timestamptz', 'timetz', 'uuid', 'varchar'))
from pg_catalog.pg_attribute
where attrelid = any (%s) and attnum > 0 and not attisdropped order by attrelid, attnum
