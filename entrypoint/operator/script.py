"""What `create` and `verify` do, as SQL for pgAdmin's query tool and psql. Asks no server."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from textwrap import indent
from typing import Final

from psycopg import sql

from ..config import tools
from ..config.registry import Service
from ..postgres import databases, objects, placement
from ..postgres.quarantine import MARK
from ..postgres.sql import SEARCH_PATH, load_sql
from .server import Registered

_HEAD_OF_CREATE: Final = """\
-- Creates the databases of the registry's services. `entrypoint create --sql` wrote this file.
--
-- pgAdmin: CREATE DATABASE runs only by itself, so select one statement, execute it, then the next
-- one. psql -f: all at once. If a database exists, the server says "already exists" and changes
-- nothing.
"""

_CLOSING: Final = """
-- Every role may connect to a new database. Execute this for each database that you have created;
-- an older one may have users who lack a CONNECT of their own.
"""

_MISSING: Final = """
-- Lists the databases that are still missing; no row is good.
"""

_HEAD_OF_VERIFY: Final = """\
-- Lists every misplaced object and its service. `entrypoint verify --sql` wrote this file.
--
-- Execute the whole file in the database {default}, in which every row is one too many, and in each
-- service's own. The query reads catalogs and writes nothing. The first line keeps a database's
-- owner from putting functions before the server's; RESET search_path, or a new session, undoes it.
set search_path = {path};
"""


def create(services: Iterable[Service], *, isolate: bool) -> str:
    """Statements that create the databases, each by itself, as `databases.create` does."""
    services = list(services)
    names = sorted({service.database for service in services})
    made = [databases.creation(service.database, service.owner).as_string() for service in services]
    closing = [databases.closing(service.database).as_string() for service in services]
    missing = sql.SQL(load_sql("operator/missing_databases")).format(
        _rows([[name] for name in names])
    )
    parts = [_HEAD_OF_CREATE, "\n", *_statements(made)]
    if isolate:
        parts += [_CLOSING, *(f"-- {line}" for line in _statements(closing))]
    return "".join([*parts, _MISSING, missing.as_string(), "\n"])


def verify(known: Registered) -> str:
    """A query for `verify`'s findings about objects in the database in which somebody runs it."""
    registry, selected = known.registry, known.selected
    books: Mapping[str, Collection[str] | None] = tools.bookkeeping()
    if known.bookkeeping is not None:
        books = dict.fromkeys(known.bookkeeping)
    services = registry.values()
    doubtful = [name for name, columns in books.items() if columns]
    query = sql.SQL(load_sql("operator/verify_script")).format(
        services=_rows([[each.name, each.database] for each in services]),
        selected=_rows([[each.name] for each in selected]),
        prefixes=_rows([[each.name, prefix] for each in services for prefix in each.prefixes], 2),
        names=_rows([[each.name, name] for each in services for name in each.names], 2),
        books=_rows([[name, columns and sorted(columns)] for name, columns in books.items()], 2),
        objects=sql.SQL(indent(objects.query(doubtful).as_string().strip(), "  ")),
        follow=sql.SQL(", ").join(map(sql.Literal, sorted(placement.FOLLOW))),
        quarantine=sql.Literal(MARK),
        default=sql.Literal(placement.DEFAULT),
        whole=sql.Literal(len(selected) == len(registry)),
    )
    head = sql.SQL(_HEAD_OF_VERIFY).format(
        default=sql.Identifier(placement.DEFAULT), path=sql.SQL(SEARCH_PATH)
    )
    return (head + query).as_string() + "\n"


def _rows(rows: Sequence[Sequence[object]], width: int = 1) -> sql.Composable:
    """Rows as a query; PostgreSQL has no empty VALUES."""
    if not rows:
        return sql.SQL("select {} where false").format(
            sql.SQL(", ").join([sql.SQL("null::text")] * width)
        )
    each = (sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row))) for row in rows)
    return sql.SQL("values\n  {}").format(sql.SQL(",\n  ").join(each))


def _statements(texts: Iterable[str]) -> list[str]:
    return [f"{text};\n" for text in texts]
