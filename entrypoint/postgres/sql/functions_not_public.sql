-- Which functions that the guard needs PUBLIC may not call.
-- A role that truncates a table calls them, and must not fail for want of EXECUTE.
select f from unnest('{"clock_timestamp()", "current_setting(text)",
  "current_setting(text, boolean)", "pg_relation_size(regclass)",
  "pg_relation_size(regclass, text)", "pg_try_advisory_lock_shared(integer, integer)",
  "random()", "pg_sleep(double precision)", "pg_notify(text, text)", "current_database()",
  "left(text, integer)", "inet_client_port()",
  "pg_event_trigger_dropped_objects()"}'::regprocedure[]) f
where not has_function_privilege('public', f, 'execute')
