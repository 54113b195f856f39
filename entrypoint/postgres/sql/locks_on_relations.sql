-- Which sessions and prepared transactions hold, or wait for, locks of some modes on relations.
-- Of another role's session a plain role sees the PID, the role and the application_name. A
-- prepared transaction has no session.
select \ir relation_label.sql
  , l.mode, l.granted,
  l.pid, a.application_name, a.usename::text, case when a.backend_type is not null
    then coalesce(host(a.client_addr), 'a local socket') end,
  to_char(coalesce(a.xact_start, p.prepared) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
  p.gid
from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation
join pg_catalog.pg_namespace n on n.oid = relnamespace
left join pg_catalog.pg_stat_activity a on a.pid = l.pid
left join pg_catalog.pg_locks x on l.pid is null and x.pid is null
  and x.locktype = 'transactionid' and x.virtualtransaction = l.virtualtransaction
left join pg_catalog.pg_prepared_xacts p on p.transaction = x.transactionid
where l.database = (select oid from pg_catalog.pg_database
                    where datname = pg_catalog.current_database())
  and (l.relation = any (%(oids)s) or %(oids)s::oid[] is null and l.relation >= 16384
    and relkind in ('r', 'p', 'v', 'm', 'S', 'f'))
  and l.mode = any (%(modes)s) and l.pid is distinct from pg_catalog.pg_backend_pid()
order by not l.granted, coalesce(a.xact_start, p.prepared), 1, 2, 4 limit 100
