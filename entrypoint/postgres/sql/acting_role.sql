-- Which role owns what a role creates: the role that ALTER ROLE ... SET role names, or none.
select case when %s = session_user and current_user <> session_user then current_user::text
  else (select substr(each, 6) from pg_roles r, unnest(rolconfig) each
    where r.rolname = %s and not rolsuper and each like 'role=%%' and each <> 'role=none') end
