-- Foreign keys in other quarantines that reference what a removal drops.
-- The removal drops them, too, because they have no use without it.
select format('%%I of %%s', conname, conrelid::regclass) from pg_constraint
join pg_class t on t.oid = confrelid join pg_namespace n on n.oid = t.relnamespace
where contype = 'f' and conparentid = 0 and nspname = any (%(schemas)s)
  and connamespace = any (%(away)s) and connamespace not in (
    select oid from pg_namespace where nspname = any (%(schemas)s)) order by 1
