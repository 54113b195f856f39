-- Whether our role is the owner, or has its rights, or the owner is a superuser.
-- To look for a row the server plans a query and evaluates the constants in the owner's index
-- expressions. From there a superuser's session that has only taken a role gets its rights back.
exists (select from pg_roles o where o.oid = owner and (rolsuper or pg_has_role(o.oid, 'usage')
    and not (select rolsuper from pg_roles where rolname = session_user)))
