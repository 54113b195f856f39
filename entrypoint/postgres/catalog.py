"""The schema of a database as one fingerprint: equal before and after means that nobody changed it.

One query over the system catalogs, computed on the server. It covers what a schema tool or a hand
can change in the user's schemas, and leaves out what is not schema: rows, statistics, comments,
owners and privileges, temporary objects, members of extensions. Nothing in it depends on OIDs,
attribute numbers (a dropped column leaves a gap), row order, role, search_path, or on a minor
version of the server. A dump restored elsewhere has the same fingerprint, except where PostgreSQL
itself writes an expression differently the second time (an IN list over varchar).
"""

from typing import Final

SETTINGS: Final = """
select pg_catalog.set_config('search_path', 'pg_catalog', true),
       pg_catalog.set_config('jit', 'off', true)
"""
"""Goes before `FINGERPRINT`, in one transaction with it. The path decides how names are written;
with `pg_catalog` alone every name of the user's is qualified. Compiling the query takes longer than
running it."""

# Every branch yields lines that begin with a word for the kind of object. `member` are the
# objects that belong to an extension; `rel` the relations that count.
FINGERPRINT: Final = r"""
with member as materialized (
  select classid, objid from pg_depend
  where refclassid = 'pg_extension'::regclass and deptype = 'e'
), space as materialized (
  select oid, quote_ident(nspname) as name from pg_namespace
  where nspname !~ '^pg_' and nspname <> 'information_schema'
    and oid not in (select objid from member where classid = 'pg_namespace'::regclass)
), rel as materialized (
  select c.*, s.name || '.' || quote_ident(relname) as name
  from pg_class c join space s on s.oid = relnamespace
  where relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c') and relpersistence <> 't'
    and c.oid not in (select objid from member where classid = 'pg_class'::regclass)
), typ as materialized (
  select t.*, s.name || '.' || quote_ident(typname) as name
  from pg_type t join space s on s.oid = typnamespace
  where typtype in ('e', 'd', 'r')
    and t.oid not in (select objid from member where classid = 'pg_type'::regclass)
), line (text) as (
  select 'schema ' || name from space
  union all
  select 'extension ' || quote_ident(extname) from pg_extension
  union all
  select concat_ws(' ', 'relation', relkind, relpersistence, name, relrowsecurity,
                   relforcerowsecurity, relreplident, reloptions, nullif(reloftype, 0)::regtype,
                   pg_get_expr(relpartbound, oid),
                   case relkind when 'p' then pg_get_partkeydef(oid)
                     when 'v' then pg_get_viewdef(oid) when 'm' then pg_get_viewdef(oid) end)
  from rel
  union all
  select concat_ws(' ', 'inherits', rel.name, inhparent::regclass, inhseqno)
  from pg_inherits join rel on rel.oid = inhrelid
  union all
  select concat_ws(' ', 'column', rel.name,
                   row_number() over (partition by attrelid order by attnum), quote_ident(attname),
                   format_type(atttypid, atttypmod), attnotnull, 'i=' || attidentity::text,
                   'g=' || attgenerated::text,
                   case when attcollation <> typcollation then attcollation::regcollation end,
                   pg_get_expr(adbin, adrelid))
  from pg_attribute
  join rel on rel.oid = attrelid
  join pg_type t on t.oid = atttypid
  left join pg_attrdef on adrelid = attrelid and adnum = attnum
  where attnum > 0 and not attisdropped and relkind in ('r', 'p', 'f', 'c')
  union all
  select concat_ws(' ', 'constraint', coalesce(rel.name, typ.name), quote_ident(conname),
                   convalidated, pg_get_constraintdef(k.oid))
  from pg_constraint k
  left join rel on rel.oid = conrelid
  left join typ on typ.oid = contypid
  where coalesce(rel.name, typ.name) is not null and contype <> 't'
  union all
  select concat_ws(' ', 'index', indisvalid, indisreplident,
                   coalesce(conname, pg_get_indexdef(indexrelid)))
  from pg_index
  join rel on rel.oid = indrelid
  left join pg_constraint on conindid = indexrelid and conrelid = indrelid
    and contype in ('p', 'u', 'x')  -- whose definition says the rest
  union all
  select concat_ws(' ', 'sequence', rel.name, format_type(seqtypid, null), seqstart, seqincrement,
                   seqmin, seqmax, seqcache, seqcycle, refobjid::regclass, attname)
  from pg_sequence
  join rel on rel.oid = seqrelid
  left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = seqrelid
    and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')
  left join pg_attribute on attrelid = refobjid and attnum = refobjsubid
  union all
  select concat_ws(' ', 'type', typtype, name, typnotnull, typdefault,
                   case typtype when 'd' then format_type(typbasetype, typtypmod) end,
                   case when typtype = 'd' then typcollation::regcollation end,
                   (select array_agg(enumlabel order by enumsortorder) from pg_enum
                    where enumtypid = typ.oid)::text,
                   (select format_type(rngsubtype, null) from pg_range where rngtypid = typ.oid))
  from typ
  union all
  select concat_ws(' ', 'function',
                   case when prokind <> 'a' then pg_get_functiondef(p.oid)
                     else p.oid::regprocedure || ' ' || aggtransfn::regproc || ' '
                       || aggfinalfn::regproc || ' ' || coalesce(agginitval, '') end)
  from pg_proc p
  join space s on s.oid = pronamespace
  left join pg_aggregate on aggfnoid = p.oid
  where p.oid not in (select objid from member where classid = 'pg_proc'::regclass)
  union all
  select concat_ws(' ', 'trigger', tgenabled, pg_get_triggerdef(t.oid))
  from pg_trigger t join rel on rel.oid = tgrelid
  where not tgisinternal
  union all
  select concat_ws(' ', 'policy', rel.name, quote_ident(polname), polcmd, polpermissive,
                   (select array_agg(coalesce(rolname, 'public') order by rolname)
                    from unnest(polroles) as r (role) left join pg_roles on oid = role)::text,
                   'using', pg_get_expr(polqual, polrelid),
                   'check', pg_get_expr(polwithcheck, polrelid))
  from pg_policy join rel on rel.oid = polrelid
  union all
  select concat_ws(' ', 'rule', ev_enabled, pg_get_ruledef(w.oid))
  from pg_rewrite w join rel on rel.oid = ev_class
  where rulename <> '_RETURN'
  union all
  select concat_ws(' ', 'statistics', pg_get_statisticsobjdef(x.oid))
  from pg_statistic_ext x join rel on rel.oid = stxrelid
)
select encode(sha256(convert_to(
         coalesce(string_agg(text, E'\n' order by text collate "C"), ''), 'UTF8')), 'hex')
from line
"""
