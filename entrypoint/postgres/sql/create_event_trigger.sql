-- Creates the event trigger that refuses drops, with its function.
-- pg_dump leaves out a member of an extension; the server still drops it with pg_temp.
create function pg_temp.entrypoint_guard () returns event_trigger language plpgsql security invoker
  set search_path = pg_catalog, pg_temp as {body};
create event trigger entrypoint_guard on sql_drop execute function pg_temp.entrypoint_guard();
alter extension plpgsql add event trigger entrypoint_guard
