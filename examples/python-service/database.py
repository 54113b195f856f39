"""The service's database: how to reach it, and how to speak of what went wrong."""

import os
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier

PREFIX = os.environ.get("TABLE_PREFIX", "notes_")
"""What the names of the service's tables begin with."""


class NotConfiguredError(Exception):
    """There is no DATABASE_URL."""


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
    """Say in one line what went wrong, for the log."""
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        return "DATABASE_URL cannot be read"  # libpq would quote it, with the password
    return str(error).partition("\n")[0] or type(error).__name__
