-- Which open transactions, in any database, have changed something; the oldest first.
select pid, application_name, usename::text,
  case when backend_type is not null then coalesce(host(client_addr), 'a local socket') end,
  to_char(xact_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
from pg_catalog.pg_stat_activity
where backend_xid is not null and pid <> pg_catalog.pg_backend_pid()
order by xact_start limit 100
