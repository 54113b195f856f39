-- Tells the guard's session by a lock that something was refused.
pg_try_advisory_lock_shared({told}, (random() * 2147483646)::int)
