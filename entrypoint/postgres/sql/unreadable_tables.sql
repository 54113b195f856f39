-- Which tables nobody can read now, and which session has locked each.
select \ir relation_label.sql
  , a.pid,
  coalesce(nullif(application_name, ''), 'somebody'), coalesce(host(client_addr), 'a local socket')
from pg_catalog.pg_locks l
join pg_catalog.pg_stat_activity a on a.pid = l.pid and a.pid <> pg_catalog.pg_backend_pid()
join pg_catalog.pg_class c on c.oid = l.relation and relkind in ('r', 'p')
join pg_catalog.pg_namespace n on n.oid = relnamespace
where l.granted and l.mode = 'AccessExclusiveLock' and left(nspname, 3) <> 'pg_'
  and l.database = (select oid from pg_catalog.pg_database
                    where datname = pg_catalog.current_database())
order by 1, 2 limit 5
