-- Sets the search_path of a session of ours, and asks which server and database it reached.
-- The backend's PID gives away a pooler, which invents one. The path stays only if no pooler is
-- there; until it is set, every name has its schema.
-- The database's owner may have set a role for all sessions in it. A superuser's session would then
-- look like that role's, and code that it evaluates could take the superuser's rights back.
select pg_catalog.set_config('search_path', 'pg_catalog, pg_temp',
  pg_catalog.pg_backend_pid() operator(pg_catalog.<>) {pid}), (
    select pg_catalog.set_config('role', 'none',
      pg_catalog.pg_backend_pid() operator(pg_catalog.<>) {pid})
    from pg_catalog.pg_roles where rolname operator(pg_catalog.=) session_user and rolsuper);
select pg_catalog.current_database(), pg_catalog.pg_is_in_recovery(),
  pg_catalog.current_setting('transaction_read_only') operator(pg_catalog.=) 'on',
  pg_catalog.pg_backend_pid()
