-- Arguments of triggers, which may be names of objects.
select 'pg_class'::regclass::int8, tgrelid::int8, 'trigger', tgname::text, quote_ident(tgname),
  'pg_trigger'::regclass::int8, oid::int8, tgargs
from pg_trigger where not tgisinternal and tgnargs > 0
