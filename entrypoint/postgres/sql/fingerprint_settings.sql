-- Sets what the text of a fingerprint depends on, for one transaction.
-- Goes before schema_fingerprint, in one transaction with it. With pg_catalog alone, and temporary
-- objects last, the server qualifies every name of a user's object. JIT is off, because to compile
-- the query takes longer than to run it. To describe a view the server locks its tables, and must
-- not wait there until somebody else's DDL ends.
select pg_catalog.set_config(name, value, true) from (values
  ('search_path', 'pg_catalog, pg_temp'), ('quote_all_identifiers', 'off'),
  ('standard_conforming_strings', 'on'), ('datestyle', 'iso, ymd'), ('intervalstyle', 'postgres'),
  ('timezone', 'utc'), ('bytea_output', 'hex'), ('extra_float_digits', '1'), ('lc_monetary', 'C'),
  ('jit', 'off'), ('lock_timeout', '1s')) as setting (name, value)
