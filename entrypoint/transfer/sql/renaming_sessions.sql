-- Sessions that rename a database, or wait to.
-- A DROP would remove the database that has the name after them.
select pid from pg_catalog.pg_locks
where locktype = 'object' and database = 0 and classid = 'pg_catalog.pg_database'::regclass
  and objid = %s::oid and mode = 'AccessExclusiveLock' and pid <> pg_catalog.pg_backend_pid()
order by not granted, pid
