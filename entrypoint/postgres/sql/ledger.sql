-- The database's comment, whether our role may change it, and the owner if that is a stranger.
select shobj_description(oid, 'pg_database'), pg_has_role(datdba, 'USAGE'), \ir stranger.sql
from pg_database where datname = current_database()
