-- The objects in a quarantine, as ALTER names them.
select case relkind when 'v' then 'VIEW' when 'm' then 'MATERIALIZED VIEW' when 'S' then 'SEQUENCE'
    when 'f' then 'FOREIGN TABLE' else 'TABLE' end, format('%%I.%%I', nspname, relname)
from pg_class c join pg_namespace n on n.oid = relnamespace
where nspname = %(schema)s and relkind in ('r', 'p', 'v', 'm', 'S', 'f') and not exists (
  select from pg_depend d where relkind = 'S' and d.objid = c.oid
    and \ir ../../postgres/sql/owned_sequence.sql
  )
union all
select case typtype when 'd' then 'DOMAIN' else 'TYPE' end, format('%%I.%%I', nspname, typname)
from pg_type t join pg_namespace n on n.oid = typnamespace
where nspname = %(schema)s and (typtype in ('e', 'd', 'r', 'm') or typtype = 'c' and exists (
  select from pg_class where oid = typrelid and relkind = 'c'))
union all select 'STATISTICS', format('%%I.%%I', nspname, stxname)
from pg_statistic_ext s join pg_namespace n on n.oid = stxnamespace where nspname = %(schema)s
union all
select case prokind when 'p' then 'PROCEDURE' when 'a' then 'AGGREGATE' else 'FUNCTION' end,
  format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(p.oid))
from pg_proc p join pg_namespace n on n.oid = pronamespace where nspname = %(schema)s
union all select upper(type), identity from (
  select 'pg_operator'::regclass, oid, oprnamespace from pg_operator
  union all select 'pg_collation'::regclass, oid, collnamespace from pg_collation
  union all select 'pg_conversion'::regclass, oid, connamespace from pg_conversion
  union all select 'pg_ts_config'::regclass, oid, cfgnamespace from pg_ts_config
  union all select 'pg_ts_dict'::regclass, oid, dictnamespace from pg_ts_dict
) rare (class, id, space) cross join pg_identify_object(class, id, 0)
where space = to_regnamespace(quote_ident(%(schema)s))
