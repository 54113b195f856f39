-- User mappings that have options.
select 'pg_user_mapping'::regclass::int8, umid::int8, format('%I for %I', srvname, usename)
from pg_user_mappings where umoptions is not null
