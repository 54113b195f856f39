-- Which services' databases are missing.
select name as missing from ({}) as service (name)
where name not in (select datname::text from pg_catalog.pg_database) order by name;
