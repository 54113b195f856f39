-- Removes a guard's event trigger.
do $$ begin
\ir drop_event_trigger.sql
end $$
