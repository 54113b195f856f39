-- Creates the trigger that refuses TRUNCATE of one table.
-- Its condition consists of built-ins, so that a dump with the trigger restores anywhere, and is
-- never true, so that the server never calls the trigger's function. It refuses by a cast of a text
-- that is no boolean; an empty part of the text, known only at run time, keeps the planner from
-- trying the cast. The condition names the table by its OID, so a restored copy refuses nothing.
create {replace} trigger entrypoint_guard before truncate on {table} when (
  case when clock_timestamp() >= {until}::timestamptz then false
  when \ir push_session.sql
    then pg_relation_size({oid}::oid::regclass) > 0 and \ir tell_refusal.sql
      is not null and pg_sleep({patience}) is not null
      and ({refusal} || left(current_database()::text, 0))::boolean
  else pg_notify({channel}, {oid}::text || \ir session_port.sql
    ) is null end
) execute function pg_catalog.suppress_redundant_updates_trigger()
