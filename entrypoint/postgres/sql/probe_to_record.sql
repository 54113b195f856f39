-- The same as `probe`, with the state that the schema has as long as its fingerprint is this one.
-- One statement returns both, because it sees one snapshot. Between two, somebody could create an
-- object and drop it later, which leaves the state as it was, and the fingerprint with the object.
-- The server's own functions see what others have committed since, such as an index's new name, so
-- the state must be the same after it.
\ir fingerprint_settings.sql
;
\ir ledger.sql
;
\ir leftovers_here.sql
;
select (\ir schema_state.sql
), (\ir schema_fingerprint.sql
)
;
\ir schema_state.sql
