-- A name for our session that no other session has.
-- A scratch database is named for the session that made it: so it is known from its first moment on
-- whether somebody still needs it. Two of them are never named alike.
select to_hex(pid) || '_' || to_hex((extract(epoch from backend_start) * 1000000)::int8)
from pg_catalog.pg_stat_activity where pid = pg_backend_pid()
