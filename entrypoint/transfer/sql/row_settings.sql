-- Fixes the settings that the text of a value depends on, for one transaction.
-- The search_path stays the default, because functions of indexes may need it.
set local timezone = 'utc'; set local datestyle = 'iso, ymd'; set local intervalstyle = 'postgres';
set local extra_float_digits = 1; set local bytea_output = 'hex'; set local lc_monetary = 'C';
set local row_security = off; set local statement_timeout = 0
