-- Tables of extensions that are dumped.
select unnest(extconfig)::int8 from pg_catalog.pg_extension where extname = any (%s)
