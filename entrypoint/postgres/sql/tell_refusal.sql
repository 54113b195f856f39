-- Reports a refusal to the guard's session, by a lock.
pg_try_advisory_lock_shared({told}, (random() * 2147483646)::int)
