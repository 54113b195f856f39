-- Which tables have a guard's trigger.
select tgrelid::regclass::text from pg_trigger where tgname = 'entrypoint_guard'
