-- Whether the session of this name logged in as our role.
-- A role sees the application_name of every session, but only on its own server.
select usesysid = (select oid from pg_roles where rolname = session_user)
from pg_stat_activity where application_name = %s
