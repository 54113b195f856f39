-- Scratch databases whose session is gone.
-- Only a superuser sees when another role's session began. Databases of such a name come from
-- rehearsals only, so a superuser drops those of other roles, too.
select d.datname::text from pg_catalog.pg_database d
where d.datname ~ '__rehearsal_[0-9a-f]+_[0-9a-f]+$' and pg_has_role(d.datdba, 'USAGE') and not exists (
  select from pg_catalog.pg_stat_activity a
  where starts_with(substring(d.datname from '__rehearsal_([0-9a-f]+_[0-9a-f]+)$'), to_hex(a.pid) || '_'
    || coalesce(to_hex((extract(epoch from a.backend_start) * 1000000)::int8), '')))
