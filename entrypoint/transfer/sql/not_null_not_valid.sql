-- NOT NULL constraints that are not valid.
\ir constraints.sql
  contype = 'n' and not convalidated
