-- Constraints that nobody enforces, or that have WITHOUT OVERLAPS or PERIOD.
-- Read as JSON, because the columns are newer than the oldest server.
\ir constraints.sql
  (to_jsonb(k) ->> 'conenforced' = 'false' or to_jsonb(k) ->> 'conperiod' = 'true')
