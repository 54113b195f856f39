-- Whether texts of a database were sorted by another version of the C library or of ICU.
datcollversion is not null
  and datcollversion is distinct from pg_database_collation_actual_version(d.oid)
