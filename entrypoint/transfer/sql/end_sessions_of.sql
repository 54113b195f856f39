-- Ends the sessions of a role.
select pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) from pg_catalog.pg_stat_activity
where usename = %s
