-- Which of these tables are our role's own.
-- Who may make a trigger may not always remove it again.
select oid::int8 from pg_class where oid = any (%s) and pg_has_role(relowner, 'usage')
