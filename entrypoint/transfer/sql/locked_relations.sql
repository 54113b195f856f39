-- Relations that a session has locked against everybody, or waits to lock: the CTE locked.
-- A query for the size of such a relation would wait.
locked as materialized (
  select coalesce(indrelid, relation) as oid from pg_locks left join pg_index
    on indexrelid = relation
  where mode = 'AccessExclusiveLock' and pid is distinct from pg_backend_pid()
    and database = (select oid from pg_database where datname = current_database()))
