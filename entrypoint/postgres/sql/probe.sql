-- What a start asks a database first: its ledger, a guard's remains, and its schema's fingerprint.
\ir fingerprint_settings.sql
;
\ir ledger.sql
;
\ir leftovers_here.sql
;
\ir schema_fingerprint.sql
