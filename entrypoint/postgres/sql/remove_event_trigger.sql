-- Removes the event trigger of a guard.
do $$ begin
\ir drop_event_trigger.sql
end $$
