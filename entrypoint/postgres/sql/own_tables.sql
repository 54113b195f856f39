-- Which of these tables our role owns.
-- The TRIGGER privilege lets a role create a trigger, but only the owner may drop it again.
select oid::int8 from pg_class where oid = any (%s) and pg_has_role(relowner, 'usage')
