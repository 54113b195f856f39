-- The role of a session, if it cannot be a start's role.
-- A start's role owns the database or tables in it, or, before its first push, is a member of the
-- database's owner. Large objects, temporary tables and default privileges prove nothing: anybody
-- may create them.
select r.rolname from pg_stat_get_activity(%s) a join pg_roles r on r.oid = a.usesysid
join pg_database d on datname = current_database()
where not rolsuper and rolname not in (current_user, session_user)
  and not pg_has_role(r.oid, datdba, 'member') and not exists (
    select from pg_class c where relowner = r.oid and relpersistence <> 't')
