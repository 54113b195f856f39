-- Starts with a session in a database.
select application_name from pg_catalog.pg_stat_activity
where datname = %s and application_name like 'entrypoint/%%' and application_name <> 'entrypoint/operator'
