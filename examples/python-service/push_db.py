"""Brings the database to the schema below: `python3 push_db.py`.

Creates the tables, columns and indexes that are missing, in one transaction, and drops nothing.
"""

import sys
from typing import Any

import psycopg
from database import PREFIX, NotConfiguredError, connect, describe
from psycopg.sql import SQL, Identifier

TABLES = {
    f"{PREFIX}authors": {
        "id": "uuid primary key default gen_random_uuid()",
        "tenant_id": "uuid not null",
        "name": "text not null",
    },
    f"{PREFIX}notes": {
        "id": "uuid primary key default gen_random_uuid()",
        "tenant_id": "uuid not null",
        "author_id": f"uuid not null references {PREFIX}authors on delete cascade",
        "title": "text not null",
        "body": "text not null default ''",
        "created_at": "timestamptz not null default now()",
    },
}
UNIQUE_INDEXES = {
    f"{PREFIX}authors_tenant_name_key": f"{PREFIX}authors (tenant_id, name)",
    f"{PREFIX}notes_author_title_key": f"{PREFIX}notes (author_id, title)",
}


def push(connection: psycopg.Connection[Any]) -> list[str]:
    """Create the missing tables, columns and indexes; returns a line about each."""
    columns = connection.execute(
        "select table_name, column_name from information_schema.columns"
        " where table_schema = 'public'"
    ).fetchall()
    indexes = connection.execute(
        "select indexname from pg_indexes where schemaname = 'public'"
    ).fetchall()
    changes = []
    for table, wanted in TABLES.items():
        there = {column for name, column in columns if name == table}
        if not there:
            lines = [SQL("{} {}").format(Identifier(n), SQL(t)) for n, t in wanted.items()]
            statement = SQL("create table public.{} ({})")
            connection.execute(statement.format(Identifier(table), SQL(", ").join(lines)))
            changes.append(f"created table {table}")
            continue
        for name in [name for name in wanted if name not in there]:
            statement = SQL("alter table public.{} add column {} {}")
            parts = Identifier(table), Identifier(name), SQL(wanted[name])
            connection.execute(statement.format(*parts))
            changes.append(f"added column {table}.{name}")
    for name, covered in UNIQUE_INDEXES.items():
        if (name,) not in indexes:
            statement = SQL("create unique index {} on public.{}")
            connection.execute(statement.format(Identifier(name), SQL(covered)))
            changes.append(f"created index {name}")
    return changes


def main() -> None:
    """Push, and print the changes."""
    try:
        with connect() as connection:
            changes = push(connection)
    except (NotConfiguredError, psycopg.Error) as error:
        sys.exit(f"push-db: {describe(error)}")
    for change in changes or ["no changes"]:
        print(f"push-db: {change}")


if __name__ == "__main__":
    main()
