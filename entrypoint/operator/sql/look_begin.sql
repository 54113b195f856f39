-- Begins a transaction that sees one moment and writes nothing.
begin isolation level repeatable read read only;
set local search_path = pg_catalog, pg_temp;
set local lock_timeout = '1s'
