-- What a start asks of a database: its ledger, a guard's remains, and its schema's fingerprint.
-- The schema's state comes before the fingerprint: if it is the same later, so is the fingerprint.
\ir fingerprint_settings.sql
;
\ir ledger.sql
;
\ir leftovers_here.sql
;
\ir schema_state.sql
;
\ir schema_fingerprint.sql
