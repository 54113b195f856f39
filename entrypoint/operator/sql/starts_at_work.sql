-- Starts with a session in a database.
select application_name from pg_stat_activity
where datname = %s and starts_with(application_name, 'entrypoint/') and application_name <> 'entrypoint/operator'
