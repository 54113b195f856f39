-- Objects that stand for themselves, and those of extensions: the CTEs alone and member.
-- Kinds that stand for themselves.
alone (classid, objid) as materialized (
  select 'pg_opclass'::regclass::oid, oid from pg_opclass
  union all select 'pg_opfamily'::regclass, oid from pg_opfamily
  union all select 'pg_operator'::regclass, oid from pg_operator
  union all select 'pg_collation'::regclass, oid from pg_collation
  union all select 'pg_conversion'::regclass, oid from pg_conversion
  union all select 'pg_transform'::regclass, oid from pg_transform
  union all select 'pg_ts_config'::regclass, oid from pg_ts_config
  union all select 'pg_ts_dict'::regclass, oid from pg_ts_dict
  union all select 'pg_ts_parser'::regclass, oid from pg_ts_parser
  union all select 'pg_ts_template'::regclass, oid from pg_ts_template
  union all select 'pg_language'::regclass, oid from pg_language
  union all select 'pg_foreign_data_wrapper'::regclass, oid from pg_foreign_data_wrapper
  union all select 'pg_foreign_server'::regclass, oid from pg_foreign_server
  union all select 'pg_user_mapping'::regclass, umid from pg_user_mappings
  union all select 'pg_event_trigger'::regclass, oid from pg_event_trigger
  union all select 'pg_publication'::regclass, oid from pg_publication
  union all select 'pg_extension'::regclass, oid from pg_extension
), member as materialized (
  select classid, objid, refobjid as extension from pg_depend
  where deptype = 'e' and refclassid = 'pg_extension'::regclass
)
