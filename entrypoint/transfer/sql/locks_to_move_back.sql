-- The number of locks that moving everything back takes.
select (select count(*) from pg_class where relnamespace = any (spaces)
    and relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c'))
  + (select count(*) from pg_proc where pronamespace = any (spaces))
  + (select count(*) from pg_type where typnamespace = any (spaces) and typtype in ('e', 'd', 'r'))
  + (select count(*) from pg_operator where oprnamespace = any (spaces))
from (select array_agg(oid) from pg_namespace where nspname = any (%s)) each (spaces)
