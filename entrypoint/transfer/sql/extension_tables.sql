-- Tables of extensions whose rows a dump contains.
select unnest(extconfig)::int8 from pg_catalog.pg_extension where extname = any (%s)
