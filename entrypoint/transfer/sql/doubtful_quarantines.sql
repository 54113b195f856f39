-- Quarantines that a role may have made that is neither ours nor a superuser.
-- A comment is no evidence: whoever may create a schema writes one. Its owner is, who must be a
-- superuser, or us, or who could do the same without us.
select nspname::text, pg_get_userbyid(nspowner)::text from pg_namespace n
join pg_roles r on r.oid = nspowner
where nspname = any (%(schemas)s) and not rolsuper and rolname <> current_user and not (
  exists (select from pg_database where datname = %(database)s and datdba = nspowner)
  and not exists (select from pg_namespace o where o.nspname = any (%(origins)s)
    and not has_schema_privilege(n.nspowner, o.oid, 'create')))
order by 1
