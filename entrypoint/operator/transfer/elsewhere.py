"""What a target on another server must have already: roles, and the right to make a database."""

from collections.abc import Iterator
from typing import Final

from ...postgres.session import Session, translated
from .plan import Plan
from .preflight import Problem
from .source import quoted

# Owners and grantees of what does not stay, and for whom the database has settings. The first
# superuser is in no dependency.
_ROLES: Final = """
select distinct rolname::text from pg_catalog.pg_shdepend d
join pg_catalog.pg_database b on b.oid = d.dbid and datname = current_database()
join pg_catalog.pg_roles r on r.oid = d.refobjid
left join pg_catalog.pg_policy p on d.classid = 'pg_policy'::regclass and p.oid = d.objid
where d.refclassid = 'pg_authid'::regclass
  and coalesce(p.polrelid, d.objid) <> all (%(staying)s)
  and not exists (select from pg_catalog.pg_type where oid = d.objid
    and d.classid = 'pg_type'::regclass and typrelid = any (%(staying)s))
"""

_MISSING: Final = """
select name from unnest(%s::text[]) name
where name not in (select rolname from pg_catalog.pg_roles) order by 1
"""


_RIGHTS: Final = """
select rolname::text, rolcreatedb or rolsuper, rolsuper from pg_catalog.pg_roles
where rolname = current_user
"""


def problems(source: Session, target: Session, plan: Plan) -> Iterator[Problem]:
    """What the target's server lacks. Raises `RefusedError` and `UnreachableError`."""
    staying = [each.oid for each in plan.staying] + [key[1] for key in plan.left_out]
    with translated("looking for roles", remedy="Start again."):
        used = {name for (name,) in source.connection.execute(_ROLES, {"staying": staying})}
        used |= {relation.owner for relation in plan.relations}
        used |= {role for role, _ in plan.source.settings if role}
        missing = target.connection.execute(_MISSING, [sorted(used)]).fetchall()
        [(name, may, mighty)] = target.connection.execute(_RIGHTS).fetchall()
    user = quoted(name)
    if missing:
        names = [quoted(name) for (name,) in missing]
        yield Problem(
            "roles",
            f"the target's server does not have the roles {', '.join(names)}",
            f"Run {'; '.join(f'CREATE ROLE {name}' for name in names)} there, or pg_dumpall "
            "--roles-only here and its output there.",
            allowable=False,
        )
    if not may:
        yield Problem(
            "target_rights",
            f"the role {user} may not create databases on the target's server",
            f"Run ALTER ROLE {user} CREATEDB there.",
            allowable=False,
        )
    if not mighty and {relation.owner for relation in plan.relations} != {name}:
        yield Problem(
            "target_owner",
            f"on the target's server the role {user} is neither a superuser nor the owner of all "
            "that moves",
            "Name a superuser by --to, or the owner's role if it is one.",
            allowable=False,
        )


def superuser(session: Session) -> bool:
    """Whether the session's role is one."""
    with translated("looking at the role", remedy="Start again."):
        row = session.connection.execute(
            "select rolsuper from pg_catalog.pg_roles where rolname = current_user"
        ).fetchone()
    return bool(row and row[0])
