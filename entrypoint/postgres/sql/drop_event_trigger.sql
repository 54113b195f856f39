-- Drops a guard's event trigger, in PL/pgSQL, for a role that owns the trigger and its function.
-- The trigger is a member of an extension, see guard.py; the trigger of an older version is not.
  if exists (select from pg_event_trigger e join pg_depend d on d.objid = e.oid
             where evtname = 'entrypoint_guard' and deptype = 'e'
               and classid = 'pg_event_trigger'::regclass) then
    alter extension plpgsql drop event trigger entrypoint_guard;
  end if;
  drop event trigger if exists entrypoint_guard;
