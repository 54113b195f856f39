-- Virtual generated columns.
select \ir ../../postgres/sql/relation_label.sql
  || '.' || attname, format('%%I.%%I', nspname, relname),
  quote_ident(attname) from pg_attribute join pg_class c on c.oid = attrelid
join pg_namespace n on n.oid = relnamespace
where attrelid = any (%(oids)s) and attgenerated = 'v' and not attisdropped
