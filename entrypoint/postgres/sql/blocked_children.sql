-- What the sessions of a child wait for, and which sessions block them.
-- Statements may contain secrets, so both sides show only the command.
with child as (
  select * from pg_catalog.pg_stat_activity where (application_name = %(name)s
         or client_port = any (%(ports)s) and client_addr = pg_catalog.inet_client_addr())
    and pid <> pg_catalog.pg_backend_pid() and datname = pg_catalog.current_database()
), blocker as (
  select distinct child.pid as blocked, b.pid from child
  cross join lateral unnest(pg_catalog.pg_blocking_pids(child.pid)) as b (pid)
)
select
  (select json_agg(json_build_object('pid', pid, 'state', state,
     'waits_for', coalesce((select l.mode || ' on ' || coalesce((select \ir relation_label.sql
          from pg_class c join pg_namespace n on n.oid = relnamespace where c.oid = l.relation),
        l.locktype) from pg_catalog.pg_locks l where l.pid = child.pid and not l.granted limit 1),
        wait_event_type || ': ' || wait_event),
     'since', to_char(state_change at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
     'state_s', round(extract(epoch from clock_timestamp() - state_change)),
     'kind', upper(substring(query from
        '(?i)^\s*(alter|analyze|call|cluster|commit|copy|create|delete|do|drop|'
        'grant|insert|lock|merge|refresh|reindex|select|truncate|update|vacuum|with)\M'))))
   from child),
  (select json_agg(json_build_object('pid', a.pid, 'application_name', application_name,
     'client_addr', host(client_addr), 'state', state,
     'since', to_char(xact_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')))
   from pg_catalog.pg_stat_activity a
   where a.pid in (select pid from blocker) and a.pid not in (select pid from child))
