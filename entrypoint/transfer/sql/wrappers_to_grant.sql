-- Foreign data wrappers, on which foreign servers depend, as GRANT names them.
select format('USAGE ON FOREIGN DATA WRAPPER %I', fdwname) from pg_foreign_data_wrapper
