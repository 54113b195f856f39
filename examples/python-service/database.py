"""The service's database: its connection, its tables' names, and its errors in one line."""

import os
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier

PREFIX = os.environ.get("TABLE_PREFIX", "notes_")
"""How the names of the service's tables begin."""


class NotConfiguredError(Exception):
    """DATABASE_URL is not set."""


def connect() -> psycopg.Connection[Any]:
    """Open a connection; as a context manager it commits at the end of its body and closes."""
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise NotConfiguredError("DATABASE_URL is not set")
    return psycopg.connect(url, connect_timeout=3)


def prefixed(statement: str) -> Composed:
    """Fill in the names of the tables, `{authors}` and `{notes}`."""
    return SQL(statement).format(
        authors=Identifier(f"{PREFIX}authors"), notes=Identifier(f"{PREFIX}notes")
    )


def describe(error: Exception) -> str:
    """An error in one line, for the log."""
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        return "DATABASE_URL cannot be read"  # libpq would quote it, with the password
    return str(error).partition("\n")[0] or type(error).__name__
