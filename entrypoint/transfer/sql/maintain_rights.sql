-- Relations on which a role has MAINTAIN without ALL, and the role.
select \ir ../../postgres/sql/relation_label.sql
  , format('%%I.%%I', nspname, relname),
  string_agg(case grantee when 0 then 'PUBLIC' else quote_ident(rolname) end, ', ')
from pg_class c join pg_namespace n on n.oid = relnamespace cross join lateral (
  select grantee from aclexplode(relacl) where grantee <> relowner group by grantee, grantor
  having bool_or(privilege_type = 'MAINTAIN') and count(*) < 8) each
left join pg_roles r on r.oid = grantee where c.oid = any (%(oids)s) group by 1, 2
