-- Whether a session of one of the roles tells that it was refused something.
-- Locks have a session and, unlike their key, its role cannot be invented.
exists (
    select from pg_locks l cross join lateral pg_stat_get_activity(l.pid) a
    where l.locktype = 'advisory' and l.classid = {told} and l.objsubid = 2
      and l.granted and l.mode = 'ShareLock' and a.usesysid = any ({roles}::oid[])
      and l.database = (select oid from pg_database where datname = current_database()))
