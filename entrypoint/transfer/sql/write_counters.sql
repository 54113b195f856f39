-- How many rows of each table were written since the server counts.
-- By functions and not by the views, which would join every table of the database.
select oid::int8, pg_stat_get_tuples_inserted(oid) + pg_stat_get_tuples_updated(oid)
  + pg_stat_get_tuples_deleted(oid) from unnest(%(oids)s::oid[]) as each (oid)
