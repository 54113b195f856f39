-- OIDs of relations, types and functions by their names.
select (select json_agg(c.oid::int8) from pg_class c join pg_namespace n on n.oid = relnamespace
    where (nspname, relname) in (select * from unnest(%s::name[], %s::name[]))),
  (select json_agg(t.oid::int8) from pg_type t join pg_namespace n on n.oid = typnamespace
    where (nspname, typname) in (select * from unnest(%s::name[], %s::name[]))),
  (select json_agg(p.oid::int8) from pg_proc p join pg_namespace n on n.oid = pronamespace
    where (nspname, proname) in (select * from unnest(%s::name[], %s::name[])))
