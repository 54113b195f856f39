-- Which session has the lock of this database, and its role.
select held.pid, a.usesysid::int8 from (\ir lock_holder.sql
) as held
cross join lateral pg_stat_get_activity(held.pid) a
