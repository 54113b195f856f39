-- Our backend, as a role's comment names it.
select pid || '/' || extract(epoch from backend_start)::text from pg_catalog.pg_stat_activity
where pid = pg_catalog.pg_backend_pid()
