-- NOT NULL constraints that have a comment.
\ir constraints.sql
  contype = 'n' and obj_description(k.oid, 'pg_constraint') <> ''
