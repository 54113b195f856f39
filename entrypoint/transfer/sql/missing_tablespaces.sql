-- The tablespaces of these that a server does not have, or that our role may not use.
select name from unnest(%s::text[]) name where not exists (
  select from pg_catalog.pg_tablespace
  where spcname = name and pg_catalog.has_tablespace_privilege(oid, 'create')) order by 1
