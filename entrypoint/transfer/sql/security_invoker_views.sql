-- Views with security_invoker.
select \ir ../../postgres/sql/relation_label.sql
  , format('%%I.%%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace
where c.oid = any (%(oids)s) and relkind = 'v' and exists (
  select from unnest(reloptions) each where each ~ '^security_invoker=')
