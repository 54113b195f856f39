-- Whether a policy may hide rows of these tables.
select exists (select from pg_catalog.pg_class where relrowsecurity and oid = any (%s))
