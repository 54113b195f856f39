-- The catalogs of kinds of objects of which a fingerprint has only the names.
'pg_collation'::regclass, 'pg_conversion'::regclass,
      'pg_event_trigger'::regclass, 'pg_foreign_server'::regclass, 'pg_opclass'::regclass,
      'pg_operator'::regclass, 'pg_opfamily'::regclass, 'pg_ts_config'::regclass,
      'pg_ts_dict'::regclass
