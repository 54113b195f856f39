-- What proves most needless starts: the ledger, and whether the schema is in the state that it has.
-- The schema's fingerprint takes longer; `probe` asks for it where this query proves nothing. Each
-- catalog that a new session reads costs it time, so the owner's name must be ours here.
select set_config('jit', 'off', true)
;
select shobj_description(oid, 'pg_database'), pg_has_role(datdba, 'USAGE'),
  pg_get_userbyid(datdba) = session_user
from pg_database where datname = current_database()
;
\ir schema_state.sql
