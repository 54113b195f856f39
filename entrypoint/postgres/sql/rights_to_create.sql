-- Our role, and whether it may create databases, act as the owner, and copy template0.
select current_user::text, rolsuper or rolcreatedb, (
  select pg_has_role(r.oid, o.oid, {}) from pg_roles o where o.rolname = %s), (
  select datistemplate from pg_database where datname = 'template0')
from pg_roles r where r.rolname = current_user
