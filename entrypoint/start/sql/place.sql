-- Which database of which server a session is in, by the server's start.
select pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()), oid
from pg_catalog.pg_database where datname operator(pg_catalog.=) pg_catalog.current_database()
