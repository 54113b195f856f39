-- Of a row of pg_database, the owner's name if nothing in it is ours.
case when exists (
    select from pg_roles r where r.oid = datdba and (rolsuper or rolname = session_user))
  or exists (\ir own_roles.sql
    select from mine where oid = datdba) or exists (\ir own_roles.sql
    select from mine join pg_class on relowner = mine.oid
      where relkind in ('r', 'p', 'v', 'm', 'S') and relpersistence <> 't' and pg_class.oid >= 16384)
then null else pg_get_userbyid(datdba) end
