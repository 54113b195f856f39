-- Columns that may be null although the parent's may not.
-- A newer server would make the parent's NOT NULL the child's, too.
select \ir ../../postgres/sql/relation_label.sql
  || '.' || a.attname, format('%%I.%%I', nspname, relname), quote_ident(a.attname)
from pg_inherits join pg_attribute p on p.attrelid = inhparent and p.attnotnull
join pg_attribute a on a.attrelid = inhrelid and a.attname = p.attname and not a.attnotnull
join pg_class c on c.oid = inhrelid join pg_namespace n on n.oid = relnamespace
where inhrelid = any (%(oids)s) and p.attnum > 0 and not p.attisdropped
