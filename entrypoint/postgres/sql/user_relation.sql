-- Whether a relation c outlives its session, is in a user's schema, and no extension's.
relpersistence <> 't' and \ir user_schema.sql
  and not exists (select from pg_catalog.pg_depend d
    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
