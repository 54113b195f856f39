-- Objects of any kind that a role still owns in this database.
select pg_describe_object(classid, objid, 0) from pg_shdepend
where dbid = (select oid from pg_database where datname = current_database()) and deptype = 'o'
  and refobjid = (select oid from pg_roles where rolname = %s)
