-- Constraints that are NOT ENFORCED, or have WITHOUT OVERLAPS or PERIOD.
-- It reads JSON, because the columns are newer than the oldest server.
\ir constraints.sql
  (to_jsonb(k) ->> 'conenforced' = 'false' or to_jsonb(k) ->> 'conperiod' = 'true')
