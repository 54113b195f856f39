-- What foreign servers are made with, as GRANT names it.
-- What foreign servers are made with.
select format('USAGE ON FOREIGN DATA WRAPPER %I', fdwname) from pg_foreign_data_wrapper
