-- The session that has the lock of a transfer.
select a.pid, a.application_name, host(a.client_addr), a.backend_start::text
from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and l.classid = %s and l.objid = %s
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
