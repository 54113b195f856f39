-- Owner, row, rights, sessions and settings of a database.
select pg_get_userbyid(datdba),
  to_jsonb(d) - 'datacl' || jsonb_build_object('encoding', pg_encoding_to_char(encoding)),
  coalesce((select json_agg(json_build_array(privilege_type, grantee::regrole::text))
    from aclexplode(datacl) where grantee <> 0 and grantee <> datdba), '[]'),
  (select count(*) from pg_catalog.pg_stat_activity a where a.datid = d.oid),
  coalesce((select json_agg(json_build_array(rolname, setting)) from pg_catalog.pg_db_role_setting
    cross join unnest(setconfig) as each (setting)
    left join pg_catalog.pg_roles r on r.oid = setrole where setdatabase = d.oid), '[]')
from pg_catalog.pg_database d where datname = %s
