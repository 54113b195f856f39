-- Comments on what moves, as rows of text.
select row('comment', o.type, o.identity, description)::text from pg_description d
cross join pg_identify_object(classoid, objoid, objsubid) o where objoid <> all (%(left)s) and (
  classoid = 'pg_class'::regclass and (objoid = any (%(oids)s) or exists (
    select from pg_index where indexrelid = objoid and indrelid = any (%(oids)s)))
  or classoid = 'pg_constraint'::regclass and exists (
    select from pg_constraint c where c.oid = objoid and conrelid = any (%(oids)s))
  or classoid = 'pg_trigger'::regclass and exists (
    select from pg_trigger t where t.oid = objoid and tgrelid = any (%(oids)s))
  or classoid = 'pg_policy'::regclass and exists (
    select from pg_policy p where p.oid = objoid and polrelid = any (%(oids)s))
  or classoid = 'pg_type'::regclass and objoid = any (%(types)s)
  or classoid = 'pg_proc'::regclass and objoid = any (%(functions)s))
