"""What ALTER DATABASE and ALTER ROLE ... IN DATABASE have set, which no dump holds."""

import re
from typing import Final

from psycopg import sql

from ...postgres.session import Session, translated
from .destination import Target
from .plan import Plan
from .source import quoted

_LISTS: Final = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
)
"""Settings that are stored as lists of quoted names: one literal for all would be one name."""


def configure(admin: Session, target: Target, plan: Plan) -> None:
    """Give the incoming database the source's settings and its own (ALTER DATABASE ... SET)."""
    for role, setting in (*plan.source.settings, *target.settings):
        name, _, value = setting.partition("=")
        who = f"role {quoted(role)} in database" if role else "database"
        values = _listed(value) if name.lower() in _LISTS else [value]
        literals = ", ".join(sql.Literal(each).as_string(admin.connection) for each in values)
        statement = f"alter {who} {quoted(target.incoming)} set {quoted(name)} to {literals}"
        with translated(f"setting {name}", remedy="Let the role set it."):
            admin.connection.execute(statement.encode())


def _listed(value: str) -> list[str]:
    """The names in a list as it is stored: quoted, with quotes doubled, or bare."""
    found = re.findall(r'\s*(?:"((?:[^"]|"")*)"|([^",]+))\s*(?:,|$)', value)
    return [name.replace('""', '"') if name else bare.strip() for name, bare in found] or [""]
