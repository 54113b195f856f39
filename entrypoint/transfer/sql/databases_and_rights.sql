-- OIDs of these databases, and whether our role has their owner's rights.
select datname::text, oid::text, pg_has_role(datdba, 'usage')
from pg_catalog.pg_database where datname = any (%s::name[])
