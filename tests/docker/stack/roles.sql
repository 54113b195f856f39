-- The services' roles, as whoever runs the server makes them; none may create a database. The last looks tenants up.
create temporary table wanted (role, password) as values
  ('sso', 'throw-away-sso-7f3a'),
  ('ai', 'throw-away-ai-7f3a'),
  ('rpg', 'throw-away-rpg-7f3a'),
  ('finance', 'throw-away-finance-7f3a'),
  ('pdv', 'throw-away-pdv-7f3a'),
  ('omnichannel', 'throw-away-omnichannel-7f3a'),
  ('tenant_reader', 'throw-away-reader-7f3a');
select format('create role %I login password %L', role, password) from wanted
  where role not in (select rolname from pg_roles) \gexec
