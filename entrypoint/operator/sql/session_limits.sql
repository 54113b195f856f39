-- Sets how long statements of an operator's session may take, and wait for a lock.
-- A role's and a database's own are meant for a service's queries: what a transfer does takes as
-- long as it must, and some of its sessions wait for others. Names are read, too, of which some
-- would be quoted otherwise.
set lock_timeout = {lock_wait_ms}; set statement_timeout = 0; set idle_in_transaction_session_timeout = 0;
set idle_session_timeout = 0; set quote_all_identifiers = off
