-- Cancels sessions that wait for this one while it waits for them.
-- Otherwise the server would find the deadlock and end this session. No session may take the next
-- number of a sequence after the transfer has read it.
select pg_catalog.pg_cancel_backend(pid) from (
  select distinct w.pid from pg_catalog.pg_locks w where not w.granted and exists (
    select from pg_catalog.pg_locks h
    where h.pid = w.pid and h.granted <> %(waiting)s and h.relation = any (%(oids)s)
      and h.database = (select oid from pg_catalog.pg_database where datname = current_database()))
) each (pid) where pg_catalog.pg_backend_pid() = any (pg_catalog.pg_blocking_pids(pid))
