-- Sets how long statements of a session of ours may take, and wait for a lock.
-- The role's own timeouts are meant for its service's queries.
select pg_catalog.set_config('statement_timeout', '{patience_ms:.0f}',
  pg_catalog.pg_backend_pid() operator(pg_catalog.<>) {pid}),
  pg_catalog.set_config('lock_timeout', '{lock_wait_ms:.0f}',
  pg_catalog.pg_backend_pid() operator(pg_catalog.<>) {pid})
