-- The oldest transaction that a client has open, of each database.
-- Neither the server's own, which have no user, nor what wakes up by itself.
select distinct on (datname) datname, json_build_object('application_name', coalesce(a.application_name, ''), 'pid', a.pid, 'since',
  to_char(a.xact_start at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
from pg_catalog.pg_stat_activity a
where datname is not null and usesysid is not null and xact_start is not null
  and application_name <> %s and coalesce(backend_type, 'client backend') = 'client backend'
order by datname, xact_start
