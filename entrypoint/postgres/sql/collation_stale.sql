-- Whether another version of the C library or of ICU sorted a database's texts.
datcollversion is not null
  and datcollversion is distinct from pg_database_collation_actual_version(d.oid)
