-- Quarantines whose maker may be neither our role nor a superuser.
-- The comment proves nothing, because everybody who may create a schema can write it. The owner
-- proves it: a superuser, our role, or a role that could do the same without us.
select nspname::text, pg_get_userbyid(nspowner)::text from pg_namespace n
join pg_roles r on r.oid = nspowner
where nspname = any (%(schemas)s) and not rolsuper and rolname <> current_user and not (
  exists (select from pg_database where datname = %(database)s and datdba = nspowner)
  and not exists (select from pg_namespace o where o.nspname = any (%(origins)s)
    and not has_schema_privilege(n.nspowner, o.oid, 'create'))) order by 1
