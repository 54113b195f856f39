-- Whether a guard left something that our role may remove.
select exists (select from pg_trigger join pg_class c on c.oid = tgrelid
               where tgname = 'entrypoint_guard' and pg_has_role(relowner, 'usage'))
  or exists (select from pg_event_trigger
             where evtname = 'entrypoint_guard' and pg_has_role(evtowner, 'usage'))
