-- Which roles are ours: the CTE mine.
-- A role that is not ours may have created the database before us, with functions in it that shadow
-- the server's. Ours are our role, the roles that it is a member of, and superusers, who need no
-- database of their own to harm us. A superuser counts as a member of every role, which proves
-- nothing; and a role that a superuser's session has only taken is not ours, because the database's
-- owner may have set it. Up to PostgreSQL 14 a role may grant itself to others, so such a grant
-- proves nothing either.
with recursive mine (oid) as (
  select oid from pg_roles where rolname = session_user or rolname = current_user
    and not (select rolsuper from pg_roles where rolname = session_user)
  union
  select roleid from mine join pg_auth_members on member = mine.oid and grantor <> roleid
)
