-- A name for our session that no other session has.
-- A scratch database has the name of its session in its own, so from its first moment on other
-- transfers know whether a session still needs it.
select to_hex(pid) || '_' || to_hex((extract(epoch from backend_start) * 1000000)::int8)
from pg_catalog.pg_stat_activity where pid = pg_backend_pid()
