-- The xmin of the database's comment.
select c.xmin::text from pg_shdescription c join pg_database d on d.oid = objoid
where classoid = 'pg_database'::regclass and datname = current_database()
