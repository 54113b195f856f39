-- Turns event triggers and triggers off for one transaction, if the role may.
-- It comes first in every transaction that defines something. Before PostgreSQL 17 an ENABLE ALWAYS
-- trigger still fires, so a transfer refuses to start while one exists.
select pg_catalog.set_config(name, case name when 'event_triggers' then 'off' else 'replica' end,
  true) from pg_catalog.pg_settings join pg_catalog.pg_roles on rolname = current_user and rolsuper
where name in ('event_triggers', 'session_replication_role')
