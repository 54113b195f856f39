-- Objects that are units of their own, and members of extensions: the CTEs alone and member.
\ir rare_kinds.sql
, alone (classid, objid) as materialized (
  select classid, objid from rare where classid <> 'pg_cast'::regclass
  union all select 'pg_publication'::regclass, oid from pg_publication
  union all select 'pg_extension'::regclass, oid from pg_extension
), \ir ../../postgres/sql/members.sql
