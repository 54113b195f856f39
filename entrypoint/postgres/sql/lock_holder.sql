-- Which session has the lock of this database, and since when.
select pid, application_name, client_addr, state, since,
       extract(epoch from clock_timestamp() - since::timestamptz)::float8 as for_s
from (\ir lock_holders.sql
) as held
where datname = current_database()
