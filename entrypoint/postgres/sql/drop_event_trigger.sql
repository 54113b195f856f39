-- Drops the event trigger of a guard; PL/pgSQL, for an owner of both.
-- It is a member of an extension, see `guard`; what an older version left is none.
  if exists (select from pg_event_trigger e join pg_depend d on d.objid = e.oid
             where evtname = 'entrypoint_guard' and deptype = 'e'
               and classid = 'pg_event_trigger'::regclass) then
    alter extension plpgsql drop event trigger entrypoint_guard;
  end if;
  drop event trigger if exists entrypoint_guard;
