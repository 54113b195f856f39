-- Sessions of others in a database.
select coalesce(nullif(application_name, ''), 'no name'), usename::text,
  case when backend_type is not null then coalesce(host(client_addr), 'a local socket') end
from pg_catalog.pg_stat_activity where datname = %s and pid <> pg_catalog.pg_backend_pid()
  and backend_type is distinct from 'autovacuum worker'
