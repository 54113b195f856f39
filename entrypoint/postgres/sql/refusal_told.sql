-- Whether a session of one of the roles reports a refusal.
-- A lock belongs to a session; anybody can invent the lock's key, but nobody the session's role.
exists (select from pg_locks l cross join lateral pg_stat_get_activity(l.pid) a
    where l.locktype = 'advisory' and l.classid = {told} and l.objsubid = 2
      and l.granted and l.mode = 'ShareLock' and a.usesysid = any ({roles}::oid[])
      and l.database = (select oid from pg_database where datname = current_database()))
