-- Event triggers that our role cannot turn off for its session.
select evtname::text, case evtevent when 'login' then 'DISABLE' else 'ENABLE' end
from pg_event_trigger where evtenabled <> 'D' and evtevent = 'login'
  or evtenabled in ('A', 'R') and current_setting('server_version_num')::int < 170000
