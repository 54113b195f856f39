-- Whether every role may connect to this database, and create in its schema public; its owner.
select has_database_privilege('public', current_database(), 'connect'),
  exists (select from pg_namespace n where nspname = 'public'
          and has_schema_privilege('public', n.oid, 'create')),
  pg_get_userbyid(datdba)
from pg_database where datname = current_database()
