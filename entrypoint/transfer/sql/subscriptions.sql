-- Subscriptions of this database, and their tables.
select json_agg(json_build_array(quote_ident(subname), (
  select coalesce(json_agg(srrelid::int8), '[]') from pg_subscription_rel where srsubid = s.oid)))
from pg_subscription s
where subdbid = (select oid from pg_database where datname = current_database())
