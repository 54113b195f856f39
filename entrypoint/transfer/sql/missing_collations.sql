-- The collations of these that a server does not have.
select name from unnest(%s::text[]) name where not exists (
  select from pg_catalog.pg_collation where collname = name
    and collnamespace = 'pg_catalog'::regnamespace
    and collencoding in (-1, pg_catalog.pg_char_to_encoding(%s))) order by 1
