-- NOT NULL constraints that no child inherits.
\ir constraints.sql
  contype = 'n' and connoinherit
