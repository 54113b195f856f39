-- The databases of the services, from the registry: made by `entrypoint create --sql`.
--
-- pgAdmin: a server creates no database among other statements, so mark one of them and execute it,
-- then the next one. psql -f: all at once. For one that is there already the server says "already
-- exists", and nothing is changed.

create database "gaqno_sso_db" template template0 encoding 'UTF8';
create database "gaqno_ai_db" template template0 encoding 'UTF8';
create database "gaqno_finance_db" template template0 encoding 'UTF8';
create database "gaqno_pdv_db" template template0 encoding 'UTF8';
create database "gaqno_rpg_db" template template0 encoding 'UTF8';
create database "gaqno_omnichannel_db" template template0 encoding 'UTF8';

-- A new database lets every role connect. Execute this for each that you have made; one that was
-- there may have users whom nobody has given CONNECT.
-- revoke connect on database "gaqno_sso_db" from public;
-- revoke connect on database "gaqno_ai_db" from public;
-- revoke connect on database "gaqno_finance_db" from public;
-- revoke connect on database "gaqno_pdv_db" from public;
-- revoke connect on database "gaqno_rpg_db" from public;
-- revoke connect on database "gaqno_omnichannel_db" from public;

-- What is missing still; no row is good.
select name as missing from (values
  ('gaqno_ai_db'),
  ('gaqno_finance_db'),
  ('gaqno_omnichannel_db'),
  ('gaqno_pdv_db'),
  ('gaqno_rpg_db'),
  ('gaqno_sso_db')) as service (name)
where name not in (select datname::text from pg_catalog.pg_database) order by name;
