-- Subscriptions and replication slots of a database.
-- A subscription makes DROP DATABASE fail; an inactive slot goes with the database.
select true, subname::text from pg_catalog.pg_subscription s
join pg_catalog.pg_database d on d.oid = subdbid where datname = %(name)s
union all select false, slot_name from pg_catalog.pg_replication_slots where database = %(name)s
order by 1, 2
