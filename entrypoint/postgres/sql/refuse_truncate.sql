-- Creates the trigger that refuses TRUNCATE of one table.
-- Its condition has built-ins alone, so that a dump which has it restores anywhere; and it is never
-- true, so that the trigger's function is never called. What is refused is told by a text that is no
-- boolean, of which an empty part is known only when it is evaluated, for the server not to try it
-- before. It names the table by its OID: what is restored from a dump is over.
create {replace} trigger entrypoint_guard before truncate on {table} when (
  case when clock_timestamp() >= {until}::timestamptz then false
  when \ir push_session.sql
    then pg_relation_size({oid}::oid::regclass) > 0
      and \ir tell_refusal.sql
      is not null and pg_sleep({patience}) is not null
      and ({refusal} || left(current_database()::text, 0))::boolean
  else pg_notify({channel}, {oid}::text || \ir session_port.sql
    ) is null end
) execute function pg_catalog.suppress_redundant_updates_trigger()
