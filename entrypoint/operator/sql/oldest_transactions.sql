-- Which client's transaction is the oldest in each database.
-- Leaves out the server's own processes, which have no user, and those that wake up by themselves.
select distinct on (datname) datname, json_build_object('application_name', coalesce(a.application_name, ''), 'pid', a.pid, 'since',
  to_char(a.xact_start at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
from pg_catalog.pg_stat_activity a
where datname is not null and usesysid is not null and xact_start is not null
  and application_name <> %s and coalesce(backend_type, 'client backend') = 'client backend'
order by datname, xact_start
