-- Scratch databases whose session is gone.
-- Other roles' sessions have no start for who is no superuser. A superuser drops no other's database
-- than those that are named so: nobody else names one so by chance.
select d.datname::text from pg_catalog.pg_database d
where d.datname ~ '__rehearsal_[0-9a-f]+_[0-9a-f]+$' and pg_has_role(d.datdba, 'USAGE') and not exists (
  select from pg_catalog.pg_stat_activity a
  where starts_with(substring(d.datname from '__rehearsal_([0-9a-f]+_[0-9a-f]+)$'), to_hex(a.pid) || '_'
    || coalesce(to_hex((extract(epoch from a.backend_start) * 1000000)::int8), '')))
