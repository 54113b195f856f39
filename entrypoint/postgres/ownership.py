"""Who owns a database, and who else may create objects in it that our sessions would evaluate."""

from typing import Any

from .session import Session, first_rows, translated
from .sql import load_sql, quoted


def no_place(session: Session) -> tuple[str, bool] | None:
    """How to let the acting role create objects in schema public; None if it may, or need not.

    It need not if its own search_path leads to another schema. The second value says whether it may
    create in no other schema, which the push might name. Raises `RefusedError` and
    `UnreachableError`.
    """
    with translated("asking where the role may create", remedy="Start again."):
        with session.transaction(names="default"):
            [(schema,)] = first_rows(session.connection, "select pg_catalog.current_schema()")
        with session.transaction():
            row = first_rows(session.connection, load_sql("postgres/public_schema"))[0]
    role, owner, keeper, may, may_make, elsewhere = row
    if may or schema not in (None, "public"):
        return None
    user, base = quoted(role), quoted(session.database)
    ways = [f"GRANT USAGE, CREATE ON SCHEMA public TO {user}"]
    who = keeper
    if keeper is None:
        ways = [f"CREATE SCHEMA public AUTHORIZATION {user}"]
        who = role if may_make else owner
    elif keeper == "pg_database_owner":
        who = owner
        ways.append(
            f"if the service should own the database, ALTER DATABASE {base} OWNER TO {user}"
        )
    else:
        ways.append(f"ALTER SCHEMA public OWNER TO {user}")
    found = f"belongs to {keeper!r}" if keeper else "is missing"
    if keeper == "pg_database_owner":
        found = f"belongs to the database's owner, {owner!r}"
    remedy = f"run {', or '.join(ways)}, as {who!r} or a superuser: schema public {found}."
    return remedy, not elsewhere


def exposed(session: Session) -> dict[str, str]:
    """What PUBLIC may do in the session's database, each with the statement that revokes it.

    Runs in the session's open transaction. Raises `RefusedError` and `UnreachableError`.
    """
    with translated("looking at PUBLIC's rights", remedy="Start again."):
        [(connects, creates, owner)] = first_rows(
            session.connection, load_sql("postgres/public_rights")
        )
    found = {}
    if connects:
        name = quoted(session.database)
        found["connect"] = f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"
    if creates:
        found["create"] = _closing(owner)
    return found


def _closing(owner: str) -> str:
    # Up to PostgreSQL 14 the first superuser owns the schema, and the database's owner has no right
    # in it.
    name = quoted(owner)
    return f"GRANT CREATE ON SCHEMA public TO {name}; REVOKE CREATE ON SCHEMA public FROM PUBLIC"


def lesser_content(session: Session) -> bool:
    """Whether our role is a superuser, and a lesser role has created something here, or may.

    Such a session must not evaluate a query over the database's objects. Runs in the session's open
    transaction; raises `psycopg.Error`.
    """
    row: Any = session.row("postgres/lesser_content")
    return bool(row and row[0])


def close_public(session: Session, owner: str) -> None:
    """Let only the owner create objects in schema public, as PostgreSQL 15 and later do.

    Raises `RefusedError`, which is harmless as long as PUBLIC may not connect, and
    `UnreachableError`.
    """
    with translated("closing schema public", remedy="Let a superuser do it."):
        session.connection.execute(_closing(owner).encode())
