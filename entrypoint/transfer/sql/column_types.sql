-- Columns of tables, with the type if its cast to text writes the whole value.
-- The cast of a user's type may not, and that of char(n) drops blanks.
select attrelid::int8, attname::text, (select typname::text from pg_catalog.pg_type t
  where t.oid = atttypid and typnamespace = 'pg_catalog'::regnamespace and typname in ('bool',
    'bytea', 'date', 'float4', 'float8', 'int2', 'int4', 'int8', 'interval', 'json', 'jsonb',
    'numeric', 'text', 'time', 'timestamp', 'timestamptz', 'timetz', 'uuid', 'varchar'))
from pg_catalog.pg_attribute
where attrelid = any (%s) and attnum > 0 and not attisdropped order by attrelid, attnum
