-- Sessions of others in this database whose role can write to one of the tables.
-- The role may write itself, or as a role that it can become. Only a role that may read all
-- statistics sees what the sessions of others do.
with session as materialized (
  select pid, application_name, usesysid, usename::text as usename, client_addr, backend_type,
    case when backend_type is not null then state <> 'idle' or state_change >= %(since)s end as did
  from pg_stat_activity
  where datname = current_database() and usesysid is not null and pid <> all (%(ours)s)
    and application_name <> %(name)s and application_name not like 'entrypoint/transfer/%%'
    and coalesce(backend_type, '') not in ('walsender', 'parallel worker')
    and backend_type is distinct from 'autovacuum worker'
), able as (
  select usesysid from (select distinct usesysid from session) each where exists (
    select from pg_class c where c.oid = any (%(oids)s)
      and (has_table_privilege(usesysid, c.oid, 'insert, update, delete, truncate')
        or pg_has_role(usesysid, relowner, 'member'))))
select coalesce(nullif(application_name, ''), 'no name'), usename,
  case when backend_type is not null then coalesce(host(client_addr), 'a local socket') end, did
from session where usesysid in (select usesysid from able)
