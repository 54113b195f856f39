-- Our backend: its PID and its start tell it from all others.
select pid, backend_start::text from pg_catalog.pg_stat_activity
where pid = pg_catalog.pg_backend_pid()
