-- Rights to what moves, as rows of text.
-- A dump may keep default rights or write them out, so the query writes them out.
with acl (what, owner, items) as (
  select row(nspname, relname), relowner, coalesce(relacl, acldefault(
      (case relkind when 'S' then 's' else 'r' end)::"char", relowner))
  from pg_class c join pg_namespace n on n.oid = relnamespace where c.oid = any (%(oids)s)
  union all select row(attrelid::regclass, attname), null, attacl from pg_attribute
  where attrelid = any (%(oids)s) and attacl is not null and attnum > 0 and not attisdropped
  union all
  select row('type', t.oid::regtype), typowner, coalesce(typacl, acldefault('T', typowner))
  from pg_type t where t.oid = any (%(types)s)
  union all
  select row('function', p.oid::regprocedure), proowner, coalesce(proacl, acldefault('f', proowner))
  from pg_proc p where p.oid = any (%(functions)s)
  union all select row('default', coalesce(nspname, ''), defaclobjtype), defaclrole, defaclacl
  from pg_default_acl left join pg_namespace n on n.oid = defaclnamespace)
select row('rights', what, pg_get_userbyid(owner), (
  select array_agg(item::text order by item::text) from unnest(items) as each (item)
  where split_part(item::text, '=', 1) <> all (%(ours)s)))::text from acl
