-- Prepares a removal, and asks whether somebody pushes under the lock.
-- Other event triggers may call anybody's functions, which a superuser's session must not run.
set local lock_timeout = {wait_ms};
select set_config('session_replication_role', 'replica', true)
from pg_roles where rolname = session_user and rolsuper;
select pg_try_advisory_xact_lock({key})
