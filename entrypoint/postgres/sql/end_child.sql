-- Ends the sessions of a child, and counts them.
select count(*), count(*) filter (where pg_catalog.pg_terminate_backend(pid))
from pg_catalog.pg_stat_activity
where (application_name = %s
       or client_port = any (%s) and client_addr = pg_catalog.inet_client_addr())
  and pid <> pg_catalog.pg_backend_pid() and datname = pg_catalog.current_database()
  and usesysid = (select oid from pg_catalog.pg_roles where rolname = session_user)
