-- Whether a query could do harm with our role's rights.
select rolsuper or exists (
  select from pg_roles r where r.rolname in ('pg_execute_server_program', 'pg_read_server_files',
    'pg_signal_backend', 'pg_write_server_files') and pg_has_role(session_user, r.oid, 'member'))
from pg_roles where rolname = session_user
