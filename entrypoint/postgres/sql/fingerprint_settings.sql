-- Sets what the text of a fingerprint depends on, for one transaction.
-- Goes before schema_fingerprint, in one transaction with it. How names and constants are written
-- depends on these; with pg_catalog alone, and temporary objects last, every name of the user's is
-- qualified. Compiling the query takes longer than running it. To describe a view the server locks the
-- tables under it, and must not wait there for as long as somebody else's DDL takes.
select pg_catalog.set_config(name, value, true) from (values
  ('search_path', 'pg_catalog, pg_temp'), ('quote_all_identifiers', 'off'),
  ('standard_conforming_strings', 'on'), ('datestyle', 'iso, ymd'), ('intervalstyle', 'postgres'),
  ('timezone', 'utc'), ('bytea_output', 'hex'), ('extra_float_digits', '1'), ('lc_monetary', 'C'),
  ('jit', 'off'), ('lock_timeout', '1s')) as setting (name, value)
