-- Begins the transaction that takes the lock.
-- The lock must live exactly as long as its client: no timeout of the server may end it (a
-- statement's counts only while the statement runs), and no vanished client may keep it. Keepalives
-- do not free the lock if the client never acknowledged the server's last answer; tcp_user_timeout
-- does. The settings are local, because a pooler would hand them to its next client.
begin isolation level read committed;
set local search_path = pg_catalog, pg_temp;
set local statement_timeout = {patience_ms:.0f};
set local lock_timeout = {lock_wait_ms:.0f};
set local idle_in_transaction_session_timeout = 0;
set local tcp_keepalives_idle = 10;
set local tcp_keepalives_interval = 5;
set local tcp_keepalives_count = 3;
set local tcp_user_timeout = 25000;
