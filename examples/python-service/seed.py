"""Inserts a tenant's first notes: `python3 seed.py TENANT`. Existing rows stay as they are."""

import sys
import uuid
from typing import Any

import psycopg
from database import NotConfiguredError, connect, describe, prefixed

AUTHORS = ["Ada", "Grace"]
NOTES = [
    ("Ada", "Note G", "How the engine would compute the numbers of Bernoulli."),
    ("Ada", "On looms", "It weaves algebraic patterns."),
    ("Grace", "First bug", "Found in relay 70, panel F; taped to this page."),
]


def seed(connection: psycopg.Connection[Any], tenant: uuid.UUID) -> int:
    """Insert the missing rows; returns their number."""
    inserted = 0
    for name in AUTHORS:
        inserted += connection.execute(
            prefixed(
                "insert into {authors} (tenant_id, name) values (%s, %s) on conflict do nothing"
            ),
            [tenant, name],
        ).rowcount
    for author, title, body in NOTES:
        inserted += connection.execute(
            prefixed(
                "insert into {notes} (tenant_id, author_id, title, body)"
                " select tenant_id, id, %s, %s from {authors} where tenant_id = %s and name = %s"
                " on conflict do nothing"
            ),
            [title, body, tenant, author],
        ).rowcount
    return inserted


def main() -> None:
    """Seed the tenant that the command line names."""
    try:
        tenant = uuid.UUID(sys.argv[1])
    except (IndexError, ValueError):
        sys.exit("seed: give the tenant as a UUID: python3 seed.py UUID")
    try:
        with connect() as connection:
            inserted = seed(connection, tenant)
    except (NotConfiguredError, psycopg.Error) as error:
        sys.exit(f"seed: {describe(error)}")
    print(f"seed: inserted {inserted} rows")


if __name__ == "__main__":
    main()
