-- Our backend: its PID and its start tell it from all others, in three forms.
-- The second stands in a role's comment, and the third in a scratch database's name. So from their
-- first moment on other transfers know whether its session lives.
select pid, backend_start::text, pid || '/' || extract(epoch from backend_start)::text,
  to_hex(pid) || '_' || to_hex((extract(epoch from backend_start) * 1000000)::int8)
from pg_catalog.pg_stat_activity where pid = pg_catalog.pg_backend_pid()
