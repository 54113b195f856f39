-- What a start asks a database first: its ledger, what a guard left, and its schema's fingerprint.
\ir fingerprint_settings.sql
;
\ir ledger.sql
;
\ir leftovers_here.sql
;
\ir schema_fingerprint.sql
