"""What ALTER DATABASE and ALTER ROLE ... IN DATABASE have set, which no dump holds."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import psycopg
from psycopg import sql

from ..postgres.session import Session, quoted, translated
from .destination import Setting, Target
from .plan import Plan

_LISTS: Final = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
)
"""Settings that are stored as lists of quoted names: one literal for all would be one name."""

_ROLES: Final = "select rolname::text from pg_catalog.pg_roles where rolname = any (%s)"


def configure(admin: Session, target: Target, plan: Plan) -> None:
    """Give the incoming database the source's settings and its own (ALTER DATABASE ... SET)."""
    for setting, to in _settings(admin, target, plan):
        role, name = setting
        if setting in target.lacks.settings:
            continue
        who = f"role {quoted(role)} in database" if role else "database"
        statement = f"alter {who} {quoted(target.incoming)} {to}"
        with translated(f"setting {name}", remedy="Let the role set it."):
            admin.connection.execute(statement.encode())


def refused(admin: Session, target: Target, plan: Plan, user: str) -> Mapping[Setting, str]:
    """What the server would not let the session's role ``user`` set, and why.

    It is tried, and taken back. A role that the server does not have is not told here.
    """
    found: dict[Setting, str] = {}
    settings = [*_settings(admin, target, plan)]
    connection = admin.connection
    with translated("trying settings", remedy="Start again."):
        roles = [role for (role, _), _ in settings if role]
        there = {name for (name,) in connection.execute(_ROLES, [roles]).fetchall()}
        connection.execute("begin; set local lock_timeout = '1s'")
        for (role, name), to in settings:
            who = quoted(role) if role and role in there else quoted(user)
            connection.execute("savepoint setting")
            try:
                connection.execute(f"alter role {who} {to}".encode())
            except psycopg.errors.LockNotAvailable:
                pass  # whoever sets something now
            except psycopg.Error as error:
                if connection.broken:
                    raise
                found[role, name] = error.diag.message_primary or type(error).__name__
            connection.execute("rollback to setting")
        connection.execute("rollback")
    return found


def _settings(admin: Session, target: Target, plan: Plan) -> Iterator[tuple[Setting, str]]:
    """The source's settings and those of the database that is replaced, with SQL that sets them."""
    for role, setting in (*plan.source.settings, *target.settings):
        name, _, value = setting.partition("=")
        values = _listed(value) if name.lower() in _LISTS else [value]
        literals = ", ".join(sql.Literal(each).as_string(admin.connection) for each in values)
        yield (role, name), f"set {quoted(name)} to {literals}"


def _listed(value: str) -> list[str]:
    """The names in a list as it is stored: quoted, with quotes doubled, or bare."""
    found = re.findall(r'\s*(?:"((?:[^"]|"")*)"|([^",]+))\s*(?:,|$)', value)
    return [name.replace('""', '"') if name else bare.strip() for name, bare in found] or [""]
