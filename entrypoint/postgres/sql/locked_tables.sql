-- What locked tables are now, whether they are empty, and whether their rows are ours to count.
-- To plan a query the server evaluates what is constant in the table's index expressions, whoever
-- wrote them. So a superuser asks a lesser role's table, and everybody a stranger's, for its size.
select c.oid::int8, nspname, relname, pg_relation_size(c.oid) = 0,
  exists (select from pg_roles r where r.oid = relowner and (rolsuper
    or pg_has_role(r.oid, 'usage')
      and not (select rolsuper from pg_roles where rolname = session_user)))
from pg_class c join pg_namespace n on n.oid = relnamespace
where c.oid = any (%s) and relkind = 'r'
