-- Tables that have a trigger of a guard.
select tgrelid::regclass::text from pg_trigger where tgname = 'entrypoint_guard'
