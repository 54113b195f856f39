-- Relations that may move.
with \ir source_schemas.sql
select json_agg(json_build_array(c.oid::int8, nspname, relname, relkind, 0,
    greatest(case when reltuples < 0 then pg_stat_get_live_tuples(c.oid) else reltuples end,
      0)::int8,
    coalesce((select json_agg(inhparent::int8) from pg_inherits where inhrelid = c.oid), '[]'),
    (select refobjid::int8 from pg_depend d where relkind = 'S' and d.objid = c.oid
     and \ir ../../postgres/sql/owned_sequence.sql
     limit 1),
    coalesce((select extension from member where classid = 'pg_class'::regclass
      and objid = c.oid), 0)::int8,
    relispartition, relforcerowsecurity, pg_get_userbyid(relowner),
    case nspname when 'public' then quote_ident(relname)
      else format('%I.%I', nspname, relname) end))
from pg_class c join space s on s.oid = relnamespace
where relkind in ('r', 'p', 'v', 'm', 'S', 'f') and relpersistence <> 't'
