-- Cancels who waits for us and keeps us waiting.
-- Who waits for us and keeps us waiting would do so for ever: the server finds a deadlock, and we
-- would be its victim. A sequence's next number must not be given out after it was read.
select pg_catalog.pg_cancel_backend(pid) from (
  select distinct w.pid from pg_catalog.pg_locks w where not w.granted and exists (
    select from pg_catalog.pg_locks h
    where h.pid = w.pid and h.granted <> %(waiting)s and h.relation = any (%(oids)s)
      and h.database = (select oid from pg_catalog.pg_database where datname = current_database()))
) each (pid) where pg_catalog.pg_backend_pid() = any (pg_catalog.pg_blocking_pids(pid))
