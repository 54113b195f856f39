-- Ends a backend.
-- Nobody waits for it any more, and it may wait for a standby. When it is gone, all is decided.
select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
where pid = %s and backend_start::text = %s
