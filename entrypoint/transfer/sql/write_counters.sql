-- The rows written to each table, by the server's counters.
-- It calls the functions, because the views would join every table of the database.
select oid::int8, pg_stat_get_tuples_inserted(oid) + pg_stat_get_tuples_updated(oid)
  + pg_stat_get_tuples_deleted(oid) from unnest(%(oids)s::oid[]) as each (oid)
