-- The state of the catalogs' rows that a schema's fingerprint is made of; null if rare kinds count.
-- It costs a third of the fingerprint. PostgreSQL never changes such a row in place: a change leaves
-- a row with another xmin. So equal states have equal fingerprints, provided that the fingerprint
-- was computed after the state; unequal states may have them too. Of pg_class the query takes what
-- the fingerprint has, because TRUNCATE, REFRESH and GRANT write there, and of a policy its roles'
-- names, which another catalog has. Temporary tables and TOAST do not count. A range and an aggregate
-- have their rows in pg_type and pg_proc as well, which no change of them leaves alone.
with transient as materialized (
  select oid from pg_namespace where nspname ~ '^pg_(toast|temp_)'
), passing as materialized (
  select oid from pg_class where relnamespace in (select oid from transient)
), state (catalog, key, version) as (
  select 1, oid::text, xmin::text from pg_namespace where oid not in (select oid from transient)
  union all
  select 2, oid::text, xmin::text from pg_extension
  union all
  select 3, c.oid::text, row(c.relname, c.relnamespace, c.relkind, c.relpersistence,
      c.relrowsecurity, c.relforcerowsecurity, c.relreplident, c.relam, c.reloptions, t.reloptions,
      c.reloftype, c.relpartbound)::text
  from pg_class c left join pg_class t on t.oid = c.reltoastrelid
  where c.oid >= 16384 and c.relnamespace not in (select oid from transient)
  union all
  select 4, attrelid || '.' || attnum, xmin::text from pg_attribute
  where attrelid >= 16384 and attnum > 0 and attrelid not in (select oid from passing)
  union all
  select 5, oid::text, xmin::text from pg_attrdef where adrelid not in (select oid from passing)
  union all
  select 6, oid::text, xmin::text from pg_constraint
  where oid >= 16384 and conrelid not in (select oid from passing)
    and connamespace not in (select oid from transient)
  union all
  select 7, indexrelid::text, xmin::text from pg_index
  where indexrelid >= 16384 and indrelid not in (select oid from passing)
  union all
  select 8, inhrelid || '.' || inhseqno, xmin::text from pg_inherits
  where inhrelid not in (select oid from passing)
  union all
  select 9, seqrelid::text, xmin::text from pg_sequence
  where seqrelid not in (select oid from passing)
  union all
  select 10, oid::text, xmin::text from pg_type
  where oid >= 16384 and typnamespace not in (select oid from transient)
  union all
  select 11, oid::text, xmin::text from pg_enum
  union all
  select 12, oid::text, xmin::text from pg_proc
  where oid >= 16384 and pronamespace not in (select oid from transient)
  union all
  select 13, oid::text, xmin::text from pg_trigger where tgrelid not in (select oid from passing)
  union all
  select 14, oid::text, xmin || ' ' || polroles::regrole[]::text from pg_policy
  union all
  select 15, oid::text, xmin::text from pg_rewrite
  where oid >= 16384 and ev_class not in (select oid from passing)
  union all
  select 16, oid::text, xmin::text from pg_statistic_ext
  where stxrelid not in (select oid from passing)
  union all
  select 17, oid::text, xmin::text from pg_cast where oid >= 16384  -- a range has one
  union all
  select 18, classid || '.' || objid || '.' || refobjid || '.' || refobjsubid, xmin::text
  from pg_depend d where deptype = 'e' or \ir owned_sequence.sql
    and objid not in (select oid from passing)
)
select case when not exists (
         select from pg_depend d where objid >= 16384 and classid in (\ir rare_kinds.sql
           , 'pg_am'::regclass)
         and not exists (select from pg_depend e where e.deptype = 'e'
                         and e.classid = d.classid and e.objid = d.objid))
       then count(*) || ':' || coalesce(sum(hashtextextended(key || ' ' || version, catalog)), 0) end
from state
