-- Whether a dependency d is that of a sequence on the column that owns it.
d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
  and d.deptype in ('a', 'i')
