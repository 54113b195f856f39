-- Extensions, large objects, settings, encoding, locale and owner of this database.
select (select json_agg(json_build_array(oid::int8, extname) order by extname) from pg_extension
    where extname <> 'plpgsql'),
  (select count(*) from pg_largeobject_metadata),
  (select json_agg(json_build_array(rolname, setting)) from pg_db_role_setting
   cross join unnest(setconfig) as each (setting) left join pg_roles r on r.oid = setrole
   where setdatabase = d.oid),
  pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba),
  current_user::text, (select rolsuper from pg_roles where rolname = current_user)
from pg_database d where datname = current_database()
