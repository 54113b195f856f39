-- NOT NULL constraints that are NOT VALID.
\ir constraints.sql
  contype = 'n' and not convalidated
