-- Users' schemas without quarantines, and members of extensions: the CTEs space and member.
space as materialized (
  select n.oid, nspname from pg_namespace n where \ir ../../postgres/sql/user_schema.sql
    and not starts_with(coalesce(obj_description(n.oid, 'pg_namespace'), ''), 'entrypoint moved: ')
), \ir ../../postgres/sql/members.sql
