-- Our backend, which its pid and its start tell from all others.
select pid, backend_start::text from pg_catalog.pg_stat_activity
where pid = pg_catalog.pg_backend_pid()
