"""What a guard could not remove, and how a later start removes it.

DROP TRIGGER needs its table alone for a moment, but others may read the table all the time; and a
crash of the server leaves everything. Leftovers refuse nothing, and no dump fails because of them.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import psycopg

from .. import log
from . import lock
from .session import Session
from .sql import load_sql

NAME: Final = "entrypoint_guard"  # names the triggers, the event trigger and its function
TRY_S: Final = 0.2  # seconds that a removal, and every later user, waits for a table
LEAVE_S: Final = 1.0  # seconds in total that `remove` waits for tables that others use


def remove(session: Session) -> None:
    """Remove what our role may remove, unless a start pushes under the lock right now.

    Each removal has a transaction of its own, which waits for its table for `TRY_S` seconds, and
    all of them wait for `LEAVE_S`. The next start removes the rest. Never raises: the next
    statement reports a lost connection.
    """
    removed = []
    soon = time.monotonic() + LEAVE_S
    with suppress(psycopg.Error):
        with session.transaction():
            [(event_trigger, tables, functions)] = session.rows("postgres/own_leftovers")
        for what, statement in _statements(tables, functions, event_trigger=event_trigger):
            with suppress(psycopg.errors.LockNotAvailable), session.transaction():
                wait_ms = max(1, int(1000 * min(TRY_S, soon - time.monotonic())))
                cursor = session.connection.execute(
                    load_sql("postgres/removal_begin")
                    .format(wait_ms=wait_ms, key=lock.KEY)
                    .encode()
                )
                while cursor.nextset():
                    pass
                if cursor.fetchone() != (True,):
                    return
                session.connection.execute(statement.encode())
                removed.append(what)
    if removed:
        log.event("info", "guard.removed", left_by="an earlier start", removed=removed)


def _statements(
    tables: list[str], functions: list[str], *, event_trigger: bool
) -> Iterator[tuple[str, str]]:
    if event_trigger:
        yield "event trigger", load_sql("postgres/remove_event_trigger")
    for table in tables:
        yield f"trigger on {table}", f"drop trigger if exists {NAME} on {table}"
    for function in functions:
        yield f"function {function}", f"drop function if exists {function}"
