-- Whether a session of this name is ours.
-- On its own server only, every role sees what a session calls itself.
select usesysid = (select oid from pg_roles where rolname = session_user)
from pg_stat_activity where application_name = %s
