-- The same as `probe`, and the schema's state, for the ledger.
-- The state comes before the fingerprint: if it is the same later, so is the fingerprint.
\ir fingerprint_settings.sql
;
\ir ledger.sql
;
\ir leftovers_here.sql
;
\ir schema_state.sql
;
\ir schema_fingerprint.sql
