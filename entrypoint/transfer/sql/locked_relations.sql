-- What somebody has locked against everybody, or waits to: the CTE locked.
-- Who asks for its size waits behind.
locked as materialized (
  select coalesce(indrelid, relation) as oid from pg_locks left join pg_index
    on indexrelid = relation
  where mode = 'AccessExclusiveLock' and pid is distinct from pg_backend_pid()
    and database = (select oid from pg_database where datname = current_database())
)
