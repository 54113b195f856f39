-- Begins the transaction that takes the lock.
-- Neither a timeout of the server nor a client that vanished may decide how long the lock lives; a
-- statement's own counts only while it runs.
-- Keepalives alone do not free it when the server's last answer was never acknowledged;
-- tcp_user_timeout does. Local to the transaction, or a pooler would hand them to the next client.
begin isolation level read committed;
set local search_path = pg_catalog, pg_temp;
set local statement_timeout = {patience_ms:.0f};
set local lock_timeout = {lock_wait_ms:.0f};
set local idle_in_transaction_session_timeout = 0;
set local tcp_keepalives_idle = 10;
set local tcp_keepalives_interval = 5;
set local tcp_keepalives_count = 3;
set local tcp_user_timeout = 25000;
