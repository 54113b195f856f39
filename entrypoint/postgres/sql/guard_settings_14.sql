-- The settings of a guard's session that PostgreSQL 14 brought.
set idle_session_timeout = 0;
set client_connection_check_interval = 0
