-- Ends the sessions of clients in a database.
select pg_terminate_backend(pid) from pg_stat_activity
where datname = %s and pid <> pg_backend_pid() and backend_type = 'client backend'
