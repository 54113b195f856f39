-- Which session has the lock of which database.
-- The numbers are the halves of lock.KEY.
select d.datname, a.pid, a.application_name, host(a.client_addr) as client_addr, a.state,
       to_char(a.xact_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since
from pg_catalog.pg_locks l join pg_catalog.pg_database d on d.oid = l.database
left join pg_catalog.pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and l.classid = 1382369385 and l.objid = 205637874
