-- Our roles: a CTE called mine.
-- A role that is not ours may have made the database before us, with functions in it that shadow the
-- server's. Ours is what our role owns, or one that it is a member of, or a superuser, who needs no
-- database of his own to harm us. Being a member of everything is not what makes a superuser safe,
-- and a role that he has only taken is not his: the database's owner may have set it.
-- Up to PostgreSQL 14 a role may grant itself to others, so that such a grant proves nothing.
with recursive mine (oid) as (
  select oid from pg_roles where rolname = session_user or rolname = current_user
    and not (select rolsuper from pg_roles where rolname = session_user)
  union
  select roleid from mine join pg_auth_members on member = mine.oid and grantor <> roleid
)
