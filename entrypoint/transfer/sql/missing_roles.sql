-- The roles of these that a server does not have.
select name from unnest(%s::text[]) name
where name not in (select rolname from pg_catalog.pg_roles) order by 1
