-- Sets up a guard's session.
-- A notice to a client that is gone would end its session in the middle of a watch.
set client_min_messages = error;
set statement_timeout = 0;
set tcp_keepalives_idle = 10;
set tcp_keepalives_interval = 5;
set tcp_keepalives_count = 3;
set tcp_user_timeout = 25000
