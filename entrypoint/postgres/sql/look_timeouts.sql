-- Sets how long a look at the tables may take, and wait for a lock.
set local lock_timeout = {lock_wait_ms};
set local statement_timeout = '10s'
