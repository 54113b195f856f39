-- Tables of users' schemas, whether our role owns them, and the rows written to them.
select c.oid::int8, nspname::text, relname::text, relowner = (
    select oid from pg_roles where rolname = current_user), relrowsecurity,
  (pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid)
    + pg_stat_get_tuples_deleted(c.oid))::int8
from pg_class c join pg_namespace n on n.oid = relnamespace
where relkind = 'r' and \ir ../../postgres/sql/user_relation.sql
order by nspname, relname
