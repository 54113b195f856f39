-- How many sessions this database has had, and which it has.
-- A role that may not see backend_type cannot tell another role's workers from its clients.
with session as materialized (
  select pid, backend_type from pg_stat_activity
  where datname = current_database() and usesysid is not null
)
select case when current_setting('track_counts') = 'on' then sessions end,
  array (select pid from session where backend_type = 'client backend'),
  array (select pid from session where backend_type is null)
from pg_stat_database where datname = current_database()
