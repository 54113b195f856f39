-- Constraints of relations; other files append a condition.
select \ir ../../postgres/sql/relation_label.sql
  || '.' || conname, format('%%I.%%I', nspname, relname), quote_ident(conname)
from pg_constraint k join pg_class c on c.oid = conrelid join pg_namespace n on n.oid = relnamespace
where conrelid = any (%(oids)s) and
