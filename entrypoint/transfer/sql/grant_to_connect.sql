-- The grant that a role needs to connect to a database.
select 'CONNECT', format('DATABASE %%I', %(database)s::text)
