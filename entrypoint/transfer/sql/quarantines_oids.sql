-- OIDs of all quarantines.
select coalesce(array_agg(objoid), '{}') from pg_catalog.pg_description
where classoid = 'pg_catalog.pg_namespace'::regclass and starts_with(description, %s)
