"""Whose a database is, and who else may put something into it that we would evaluate."""

from typing import Any, Final

from psycopg import sql

from .session import Session, first_rows, translated

# A role that is not ours may have made the database before us, with functions in it that shadow the
# server's. Ours is what our role owns, or one that it is a member of, or a superuser, who needs no
# database of his own to harm us. Being a member of everything is not what makes a superuser safe,
# and a role that he has only taken is not his: the database's owner may have set it.
# Up to PostgreSQL 14 a role may grant itself to others, so that such a grant proves nothing.
_MINE: Final = """
with recursive mine (oid) as (
  select oid from pg_roles where rolname = session_user or rolname = current_user
    and not (select rolsuper from pg_roles where rolname = session_user)
  union
  select roleid from mine join pg_auth_members on member = mine.oid and grantor <> roleid
)
"""

STRANGER: Final = f"""
case when exists (
    select from pg_roles r where r.oid = datdba and (rolsuper or rolname = session_user))
  or exists ({_MINE} select from mine where oid = datdba)
  or exists ({_MINE} select from mine join pg_class on relowner = mine.oid
    where relkind in ('r', 'p', 'v', 'm', 'S') and relpersistence <> 't' and pg_class.oid >= 16384)
then null else pg_get_userbyid(datdba) end
"""  # noqa: S608  a text of our own
"""Of a row of pg_database, the owner's name if it is a stranger's and nothing in it is ours."""

_EXPOSED: Final = """
select has_database_privilege('public', current_database(), 'connect'),
  exists (select from pg_namespace n where nspname = 'public'
          and has_schema_privilege('public', n.oid, 'create')),
  pg_get_userbyid(datdba)
from pg_database where datname = current_database()
"""

# Everything that has an owner is in pg_shdepend, but for what belongs to the first superuser.
_LESSER: Final = """
with lesser as (
  select oid from pg_roles where not rolsuper and oid >= 16384
), here as (
  select oid, datdba, datacl from pg_database where datname = current_database()
)
select (select rolsuper from pg_roles where rolname = session_user) and (
  exists (select from here where datdba in (select oid from lesser))
  or exists (select from pg_shdepend d join here on d.dbid = here.oid where d.deptype = 'o'
    and d.refclassid = 'pg_authid'::regclass and d.refobjid in (select oid from lesser))
  or exists (select from pg_namespace cross join lateral aclexplode(nspacl) a
    where nspname not in ('pg_toast', 'information_schema') and a.privilege_type = 'CREATE'
      and (a.grantee = 0 or a.grantee in (select oid from lesser)))
  or exists (select from here cross join lateral aclexplode(datacl) a
    where a.privilege_type = 'CREATE' and (a.grantee = 0 or a.grantee in (select oid from lesser))))
"""

_PUBLIC: Final = """
select current_user::text, pg_get_userbyid(d.datdba), pg_get_userbyid(n.nspowner),
  has_schema_privilege(current_user, n.oid, 'create')
    and has_schema_privilege(current_user, n.oid, 'usage'),
  has_database_privilege(current_user, d.oid, 'create'), exists (select from pg_namespace
    where left(nspname, 3) <> 'pg_' and nspname not in ('public', 'information_schema')
      and has_schema_privilege(current_user, oid, 'create'))
from pg_database d left join pg_namespace n on nspname = 'public'
where datname = current_database()
"""


def no_place(session: Session) -> tuple[str, bool] | None:
    """What lets whom the session's role acts as create something in schema public, if needed.

    And whether it has no other schema, which the push may name. None where it may, or where its
    own path leads it to another schema. Raises `RefusedError` and
    `UnreachableError`.
    """
    with translated("asking where the role may create", remedy="Start again."):
        with session.transaction(names="default"):
            [(schema,)] = first_rows(session.connection, "select pg_catalog.current_schema()")
        with session.transaction():
            row = first_rows(session.connection, _PUBLIC)[0]
    role, owner, keeper, may, may_make, elsewhere = row
    if may or schema not in (None, "public"):
        return None
    user, base = sql.Identifier(role).as_string(), sql.Identifier(session.database).as_string()
    ways = [f"GRANT USAGE, CREATE ON SCHEMA public TO {user}"]
    who = keeper
    if keeper is None:
        ways = [f"CREATE SCHEMA public AUTHORIZATION {user}"]
        who = role if may_make else owner
    elif keeper == "pg_database_owner":
        who = owner
        ways.append(
            f"if the database is to be the service's own, ALTER DATABASE {base} OWNER TO {user}"
        )
    else:
        ways.append(f"ALTER SCHEMA public OWNER TO {user}")
    found = f"belongs to {keeper!r}" if keeper else "is missing"
    if keeper == "pg_database_owner":
        found = f"belongs to the database's owner, {owner!r}"
    remedy = f"run {', or '.join(ways)}, as {who!r} or a superuser: schema public {found}."
    return remedy, not elsewhere


def exposed(session: Session) -> dict[str, str]:
    """What every role may do in the session's database, with the statement that forbids it.

    In the session's open transaction. Raises `RefusedError` and `UnreachableError`.
    """
    with translated("looking at PUBLIC's rights", remedy="Start again."):
        [(connects, creates, owner)] = first_rows(session.connection, _EXPOSED)
    found = {}
    if connects:
        name = sql.Identifier(session.database).as_string()
        found["connect"] = f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"
    if creates:
        found["create"] = _closing(owner)
    return found


def _closing(owner: str) -> str:
    # Up to PostgreSQL 14 the schema is the first superuser's, and the owner has no right there.
    name = sql.Identifier(owner).as_string()
    return f"GRANT CREATE ON SCHEMA public TO {name}; REVOKE CREATE ON SCHEMA public FROM PUBLIC"


def lesser_content(session: Session) -> bool:
    """Whether we are a superuser, and a role that is none has made something here, or may.

    Such a session must not evaluate a query over the database's objects. In the session's open
    transaction; raises `psycopg.Error`.
    """
    row: Any = session.connection.execute(_LESSER).fetchone()
    return bool(row and row[0])


def close_public(session: Session, owner: str) -> None:
    """Let the owner create something in schema public, and not PUBLIC, as since PostgreSQL 15.

    Raises `RefusedError`, which is harmless as long as PUBLIC may not connect, and
    `UnreachableError`.
    """
    with translated("closing schema public", remedy="Let a superuser do it."):
        session.connection.execute(_closing(owner).encode())
