r"""The program's SQL, which lies in files: a query each, and a first line that says its answer.

A file begins with comments, which the server does not get. ``\ir FILE`` at the end of a line
includes a shared fragment, as in psql; FILE is a path from the including file's folder.
"""

import os
from functools import cache
from typing import Final

SEARCH_PATH: Final = "pg_catalog, pg_temp"
"""The search_path of every session of ours: our role may be a superuser, and the database's role
may have put functions, operators and types before the server's. It names pg_temp last, because
PostgreSQL searches an unnamed pg_temp first for relations and types."""

_PACKAGE: Final = os.path.dirname(os.path.dirname(__file__))


def load_sql(name: str) -> str:
    """The statements of ``FOLDER/QUERY``, from the file ``FOLDER/sql/QUERY.sql``."""
    folder, _, query = name.rpartition("/")
    return _read(f"{_PACKAGE}/{folder}/sql/{query}.sql")


@cache
def _read(path: str) -> str:
    with open(path, "rb") as file:
        text = file.read().decode()
    while text.startswith("--"):
        _, _, text = text.partition("\n")
    text, *rest = text.strip().split("\\ir ")
    for each in rest:
        name, newline, after = each.partition("\n")
        text += _read(os.path.join(os.path.dirname(path), name)) + newline + after
    return text


def quoted(name: str) -> str:
    """Quote an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
