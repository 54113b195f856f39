-- What a start asks of a database: its ledger, a guard's remains, and its schema's fingerprint.
\ir fingerprint_settings.sql
;
\ir ledger.sql
;
\ir leftovers_here.sql
;
\ir schema_fingerprint.sql
