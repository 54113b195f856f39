-- Collations of the server that columns, indexes and domains of what moves have.
-- A restore finds those that only an expression names.
select distinct collname::text from pg_catalog.pg_collation l
where oid < 16384 and collprovider <> 'd' and (
  exists (select from pg_catalog.pg_attribute a
    left join pg_catalog.pg_index on indexrelid = attrelid
    where attcollation = l.oid and coalesce(indrelid, attrelid) = any (%(oids)s))
  or exists (select from pg_catalog.pg_type where typcollation = l.oid and oid = any (%(types)s)))
order by 1
