-- A name for our session that no other session has.
-- A scratch database's name contains it, so from its first moment on other transfers know whether
-- its session lives.
select to_hex(pid) || '_' || to_hex((extract(epoch from backend_start) * 1000000)::int8)
from pg_catalog.pg_stat_activity where pid = pg_backend_pid()
