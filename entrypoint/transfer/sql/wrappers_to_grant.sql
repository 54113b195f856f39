-- Foreign data wrappers, which make foreign servers, as GRANT names them.
select format('USAGE ON FOREIGN DATA WRAPPER %I', fdwname) from pg_foreign_data_wrapper
