-- Creates the databases of the registry's services. `entrypoint create --sql` wrote this file.
--
-- pgAdmin: CREATE DATABASE runs only by itself, so select one statement, execute it, then the next
-- one. psql -f: all at once. If a database exists, the server says "already exists" and changes
-- nothing.

create database "gaqno_sso_db" template template0 encoding 'UTF8';
create database "gaqno_ai_db" template template0 encoding 'UTF8';
create database "gaqno_finance_db" template template0 encoding 'UTF8';
create database "gaqno_pdv_db" template template0 encoding 'UTF8';
create database "gaqno_rpg_db" template template0 encoding 'UTF8';
create database "gaqno_omnichannel_db" template template0 encoding 'UTF8';

-- Every role may connect to a new database. Execute this for each database that you have created;
-- an older one may have users who lack a CONNECT of their own.
-- revoke connect on database "gaqno_sso_db" from public;
-- revoke connect on database "gaqno_ai_db" from public;
-- revoke connect on database "gaqno_finance_db" from public;
-- revoke connect on database "gaqno_pdv_db" from public;
-- revoke connect on database "gaqno_rpg_db" from public;
-- revoke connect on database "gaqno_omnichannel_db" from public;

-- Lists the databases that are still missing; no row is good.
select name as missing from (values
  ('gaqno_ai_db'),
  ('gaqno_finance_db'),
  ('gaqno_omnichannel_db'),
  ('gaqno_pdv_db'),
  ('gaqno_rpg_db'),
  ('gaqno_sso_db')) as service (name)
where name not in (select datname::text from pg_catalog.pg_database) order by name;
