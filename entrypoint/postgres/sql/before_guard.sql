-- When the guard ends, which sessions are there before it, and our own port and roles.
select (clock_timestamp() + {lasts_s} * interval '1 s')::text,
  array (select pid from pg_stat_activity where pid is not null),
  inet_client_port(),
  array (select usesysid::int8 from pg_stat_get_activity(pg_backend_pid())), {asks}
