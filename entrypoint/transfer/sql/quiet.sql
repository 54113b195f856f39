-- Keeps event triggers and triggers quiet in one transaction, where the role may.
-- It goes first in a transaction that defines anything. Before PostgreSQL 17, a trigger that is
-- enabled always fires still; a transfer refuses to meet one.
select pg_catalog.set_config(name, case name when 'event_triggers' then 'off' else 'replica' end,
  true)
from pg_catalog.pg_settings join pg_catalog.pg_roles on rolname = current_user and rolsuper
where name in ('event_triggers', 'session_replication_role')
