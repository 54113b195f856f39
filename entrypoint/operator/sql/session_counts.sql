-- How many clients each database has.
-- The server tells a plain role neither backend_type nor anything else of a stranger's session but
-- who and where it is; its own workers have no user.
select datname, count(*) from pg_catalog.pg_stat_activity
where datname is not null and usesysid is not null and application_name <> %s
  and coalesce(backend_type, 'client backend') = 'client backend'
group by datname
