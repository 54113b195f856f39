-- How many clients each database has.
-- Of a stranger's session the server tells a plain role the user, the address and the PID, but no
-- backend_type; its own workers have no user.
select datname, count(*) from pg_catalog.pg_stat_activity
where datname is not null and usesysid is not null and application_name <> %s
  and coalesce(backend_type, 'client backend') = 'client backend'
group by datname
