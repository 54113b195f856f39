-- Sets the path of a session of ours, and asks which server and database it reached.
-- Whether a pooler stands between is known by the backend's pid, which a pooler invents. Only in a
-- session of our own the path stays. Until it is set, every name has its schema.
--
-- The database's owner may have set a role for all sessions in it. A superuser's would then look
-- like that role's own, and what it evaluates could go back to the superuser.
select pg_catalog.set_config('search_path', 'pg_catalog, pg_temp',
  pg_catalog.pg_backend_pid() operator(pg_catalog.<>) {pid}), (
    select pg_catalog.set_config('role', 'none',
      pg_catalog.pg_backend_pid() operator(pg_catalog.<>) {pid})
    from pg_catalog.pg_roles where rolname operator(pg_catalog.=) session_user and rolsuper);
select pg_catalog.current_database(), pg_catalog.pg_is_in_recovery(),
  pg_catalog.current_setting('transaction_read_only') operator(pg_catalog.=) 'on',
  pg_catalog.pg_backend_pid()
