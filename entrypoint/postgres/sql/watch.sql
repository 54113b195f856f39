-- Watches the start's session, and removes its guard when the session is gone.
-- Each of its transactions is short: CREATE INDEX CONCURRENTLY waits for older ones, and nobody can
-- lock many tables at once.
do $$
declare
  name text;
  since timestamptz;
  again bool := true;
begin
  while exists (select from pg_stat_get_activity({pid})) loop
    if {asks} then
      perform set_config({heard}, 'on', false);
    end if;
    if coalesce(current_setting({seen}, true), '') <> 'on' and exists (
        select from pg_stat_get_activity(null) where application_name = {name}) then
      perform set_config({seen}, 'on', false);
    end if;
    commit;
    begin
      perform pg_sleep({look_s});
    exception when query_canceled then
      return;
    end;
  end loop;
  since := clock_timestamp();
  while again and clock_timestamp() < since + interval {give_up} loop
    again := false;
    begin
      \ir drop_event_trigger.sql
    exception when lock_not_available then
      again := true;
    when others then
    end;
    commit;
    for name in \ir guarded_tables.sql
    loop
      begin
        execute 'drop trigger if exists entrypoint_guard on ' || name;
      exception when lock_not_available then
        again := true;
      when others then
      end;
      commit;
    end loop;
    if again then
      perform pg_sleep(1);
    end if;
  end loop;
end $$
