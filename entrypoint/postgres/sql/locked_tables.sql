-- What locked tables are now, whether they are empty, and whether our role may count their rows.
-- To plan a query the server evaluates the constants in the table's index expressions, which their
-- owner wrote. So a superuser asks only for the size of a lesser role's table, and other roles only
-- for the size of a stranger's.
select c.oid::int8, nspname, relname, pg_relation_size(c.oid) = 0,
  exists (select from pg_roles r where r.oid = relowner and (rolsuper or pg_has_role(r.oid, 'usage')
      and not (select rolsuper from pg_roles where rolname = session_user)))
from pg_class c join pg_namespace n on n.oid = relnamespace
where c.oid = any (%s) and relkind = 'r'
