-- Whether a session of this name is ours: on its own server only, every role sees the name.
-- What a session calls itself is seen by every role, on its own server only.
select usesysid = (select oid from pg_roles where rolname = session_user)
from pg_stat_activity where application_name = %s
