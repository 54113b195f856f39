-- Our role, whether it may create databases, and whether it is a superuser.
select rolname::text, rolcreatedb or rolsuper, rolsuper from pg_catalog.pg_roles
where rolname = current_user
