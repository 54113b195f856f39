-- Members of extensions that have explicit rights.
with \ir ../../postgres/sql/members.sql
select json_agg(json_build_array(extension::int8, class::int8, id::int8, coalesce(nspname, '-'),
  kind, name, also)) from (
  select 'pg_proc'::regclass, oid, pronamespace,
    case prokind when 'p' then 'PROCEDURE' when 'a' then 'AGGREGATE' else 'FUNCTION' end,
    format('%s(%s)', proname, pg_get_function_identity_arguments(oid)),
    format('%s(%s)', proname, coalesce((select string_agg(format_type(type, null), ', '
      order by number) from unnest(proargtypes) with ordinality as each (type, number)),
      case prokind when 'a' then '*' else '' end)) from pg_proc where proacl is not null
  union all select 'pg_type'::regclass, oid, typnamespace, 'TYPE', typname, null
  from pg_type where typacl is not null
  union all select 'pg_language'::regclass, oid, 0, 'LANGUAGE', lanname, null
  from pg_language where lanacl is not null
  union all select 'pg_foreign_data_wrapper'::regclass, oid, 0, 'FOREIGN DATA WRAPPER',
    fdwname, null from pg_foreign_data_wrapper where fdwacl is not null
  union all select 'pg_foreign_server'::regclass, oid, 0, 'SERVER', srvname, null
  from pg_foreign_server where srvacl is not null) each (class, id, space, kind, name, also)
join member on classid = class and objid = id left join pg_namespace n on n.oid = space
