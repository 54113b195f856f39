-- The start time of a session's server, and the OID of its database.
select pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()), oid
from pg_catalog.pg_database where datname operator(pg_catalog.=) pg_catalog.current_database()
