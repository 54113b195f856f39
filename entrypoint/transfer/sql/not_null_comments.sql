-- NOT NULL constraints with a comment.
\ir constraints.sql
  contype = 'n' and obj_description(k.oid, 'pg_constraint') <> ''
