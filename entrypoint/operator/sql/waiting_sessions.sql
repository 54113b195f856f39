-- How many sessions of each database wait for a lock, and whether one has waited for long.
select datname, json_build_array(count(*), coalesce(bool_or(
  extract(epoch from now() - query_start) > %s), false)) from pg_catalog.pg_stat_activity
where datname is not null and wait_event_type = 'Lock' group by datname
