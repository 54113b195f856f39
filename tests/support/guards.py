"""What guards leave behind, which must be nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg


def remains(connection: psycopg.Connection[Any]) -> list[str]:
    """What there is of guards in the connection's database."""
    rows = connection.execute(
        "select 'trigger on ' || tgrelid::regclass from pg_trigger"
        " where tgname = 'entrypoint_guard'"
        " union all select 'function ' || proname from pg_proc"
        " where proname like 'entrypoint%'"
        " union all select 'event trigger' from pg_event_trigger"
        " where evtname = 'entrypoint_guard'"
    ).fetchall()
    return [row[0] for row in rows]
