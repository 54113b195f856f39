-- The room in the server's lock table, and the locks in it.
-- As InitializeMaxBackends (postinit.c) and NLOCKENTS (lock.c) compute it: 18 has slots for
-- autovacuum workers, and one more special process. The table has no fast-path locks, and one entry
-- for a lock in several modes.
with setting as materialized (select name, setting::int8 as value from pg_catalog.pg_settings
  where name in ('max_locks_per_transaction', 'max_connections', 'max_prepared_transactions',
    'max_worker_processes', 'max_wal_senders', 'autovacuum_max_workers', 'autovacuum_worker_slots'))
select (select value from setting where name = 'max_locks_per_transaction'),
  (select sum(value) + case when bool_or(name = 'autovacuum_worker_slots') then 2 else 1 end
   from setting where name <> 'max_locks_per_transaction' and (name <> 'autovacuum_max_workers'
     or not exists (select from setting where name = 'autovacuum_worker_slots')))::int8,
  (select count(*) from (
    select distinct locktype, database, relation, page, tuple, virtualxid, transactionid::text,
      classid, objid, objsubid, pid
    from pg_catalog.pg_locks where not fastpath and pid is distinct from pg_backend_pid()) held)
