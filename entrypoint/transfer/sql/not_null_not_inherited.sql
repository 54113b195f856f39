-- NOT NULL constraints with NO INHERIT.
\ir constraints.sql
  contype = 'n' and connoinherit
