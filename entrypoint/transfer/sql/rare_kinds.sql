-- Objects of the rarer kinds, and their owners: the CTE rare.
rare (classid, objid, owner) as (
  select 'pg_opclass'::regclass::oid, oid, opcowner from pg_opclass
  union all select 'pg_opfamily'::regclass, oid, opfowner from pg_opfamily
  union all select 'pg_operator'::regclass, oid, oprowner from pg_operator
  union all select 'pg_cast'::regclass, oid, 0 from pg_cast
  union all select 'pg_collation'::regclass, oid, collowner from pg_collation
  union all select 'pg_conversion'::regclass, oid, conowner from pg_conversion
  union all select 'pg_transform'::regclass, oid, 0 from pg_transform
  union all select 'pg_ts_config'::regclass, oid, cfgowner from pg_ts_config
  union all select 'pg_ts_dict'::regclass, oid, dictowner from pg_ts_dict
  union all select 'pg_ts_parser'::regclass, oid, 0 from pg_ts_parser
  union all select 'pg_ts_template'::regclass, oid, 0 from pg_ts_template
  union all select 'pg_language'::regclass, oid, lanowner from pg_language
  union all select 'pg_foreign_data_wrapper'::regclass, oid, fdwowner from pg_foreign_data_wrapper
  union all select 'pg_foreign_server'::regclass, oid, srvowner from pg_foreign_server
  union all select 'pg_user_mapping'::regclass, umid, 0 from pg_user_mappings
  union all select 'pg_event_trigger'::regclass, oid, evtowner from pg_event_trigger)
