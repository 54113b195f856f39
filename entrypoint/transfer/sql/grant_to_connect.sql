-- What a role must be granted to connect to a database.
select 'CONNECT', format('DATABASE %%I', %(database)s::text)
