-- Which session has the lock of each transfer.
select objid::int8, json_build_object('application_name', coalesce(a.application_name, ''), 'pid', a.pid, 'since',
  to_char(a.backend_start at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
where locktype = 'advisory' and l.granted and objsubid = 1 and classid = %s
