-- Which functions of guards our role may drop: a crash of the server leaves them.
-- The second name is that of an older version.
select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = pronamespace
where proname in ('entrypoint_guard', 'entrypoint_guard_truncate') and nspname like 'pg\_temp\_%'
  and pg_has_role(proowner, 'usage')
