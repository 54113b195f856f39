-- Sets how long statements of an operator's session may take, and wait for a lock.
-- The timeouts of a role and a database are meant for a service's queries: a transfer's statements
-- take as long as they must, and some of its sessions wait for others. The code also parses names
-- that the server returns, so the server quotes only names that need it.
set lock_timeout = {lock_wait_ms}; set statement_timeout = 0; set idle_in_transaction_session_timeout = 0;
set idle_session_timeout = 0; set quote_all_identifiers = off
