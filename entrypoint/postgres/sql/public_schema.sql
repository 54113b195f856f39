-- Who owns schema public, and whether our role may create there, or elsewhere.
select current_user::text, pg_get_userbyid(d.datdba), pg_get_userbyid(n.nspowner),
  has_schema_privilege(current_user, n.oid, 'create')
    and has_schema_privilege(current_user, n.oid, 'usage'),
  has_database_privilege(current_user, d.oid, 'create'), exists (select from pg_namespace
    where left(nspname, 3) <> 'pg_' and nspname not in ('public', 'information_schema')
      and has_schema_privilege(current_user, oid, 'create'))
from pg_database d left join pg_namespace n on nspname = 'public'
where datname = current_database()
