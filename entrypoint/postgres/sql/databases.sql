-- All databases, by name.
select datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datistemplate,
  has_database_privilege('public', d.oid, 'connect'),
  case when has_database_privilege(d.oid, 'connect')
    or pg_has_role('pg_read_all_stats', 'usage') then pg_database_size(d.oid) end,
  {stale}, shobj_description(d.oid, 'pg_database')
from pg_catalog.pg_database d order by datname collate "C"
