-- Which session has the lock of each database, and what its children do.
-- A child's sessions bear the lock holder's name: entrypoint/<service>/<host>/push-<number>.
with holder as (\ir ../../postgres/sql/lock_holders.sql
)
select datname, json_build_object(
  'application_name', coalesce(h.application_name, ''), 'pid', h.pid, 'client_addr', client_addr,
  'since', since, 'doing', coalesce((
    select string_agg(distinct substring(a.application_name from '/([a-z]+)-[0-9a-f]+$')
      || case when a.wait_event_type = 'Lock' then ', waiting for a lock' else '' end, ', ')
    from pg_catalog.pg_stat_activity a where a.datname = h.datname
      and starts_with(a.application_name, h.application_name || '/')), 'between steps'))
from holder h
