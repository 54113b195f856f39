-- What proves most needless starts: the ledger, and whether the schema is in the state that it has.
-- The schema's fingerprint takes longer; `probe` asks for it where this query proves nothing. Each
-- catalog that a new session reads costs it time, so the owner's name must be ours here. The
-- comment's xmin tells the ledger of this server from one that a dump brought.
select set_config('jit', 'off', true), set_config('quote_all_identifiers', 'off', true)
;
select description, pg_has_role(datdba, 'USAGE'), pg_get_userbyid(datdba) = session_user,
  c.xmin::text
from pg_database d left join pg_shdescription c
  on c.objoid = d.oid and classoid = 'pg_database'::regclass
where datname = current_database()
;
\ir schema_state.sql
