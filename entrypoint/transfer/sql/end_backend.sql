-- Ends a backend.
-- No client waits for it any more, but it may wait for a standby. Its end decides its transaction.
select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
where pid = %s and backend_start::text = %s
