-- Types and functions that may move.
with \ir source_schemas.sql
select json_agg(json_build_array('pg_type'::regclass::int8, t.oid::int8,
    case typtype when 'd' then 'DOMAIN' else 'TYPE' end, nspname, typname,
    format('%I.%I', nspname, typname), '', pg_get_userbyid(typowner), false, null, null))
from pg_type t join space s on s.oid = typnamespace
where (typtype in ('e', 'd', 'r') or typtype = 'b' and typcategory <> 'A'
    or typtype = 'c' and exists (select from pg_class where oid = typrelid and relkind = 'c'))
  and ('pg_type'::regclass::oid, t.oid) not in (select classid, objid from member)
union all select json_agg(json_build_array('pg_proc'::regclass::int8, p.oid::int8,
    case prokind when 'p' then 'PROCEDURE' when 'a' then 'AGGREGATE' else 'FUNCTION' end,
    nspname, proname, format('%I.%I(%s)', nspname, proname,
      pg_get_function_identity_arguments(p.oid)),
    case when prolang in (12, 13) then '' else coalesce(prosrc, '') end, pg_get_userbyid(proowner),
    prorettype = 'trigger'::regtype, coalesce((select string_agg(format_type(type, null), ', '
      order by number) from unnest(proargtypes) with ordinality as each (type, number)),
      case prokind when 'a' then '*' else '' end), pg_get_function_identity_arguments(p.oid)))
from pg_proc p join space s on s.oid = pronamespace
where ('pg_proc'::regclass::oid, p.oid) not in (select classid, objid from member)
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass
    and d.objid = p.oid and d.deptype = 'i')
