-- How long a look at the tables waits, and takes.
set local lock_timeout = {lock_wait_ms};
set local statement_timeout = '10s'
