-- Sets what PostgreSQL 14 added for a guard's session.
set idle_session_timeout = 0;
set client_connection_check_interval = 0
