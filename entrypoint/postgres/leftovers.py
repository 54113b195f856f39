"""What a guard leaves where it cannot take it along, and how a later start removes it.

A trigger's removal needs its table for itself for a moment, which somebody who reads it all the
time does not grant; and after a crash of the server everything stays. None of it refuses anything
any more, and no dump fails because of it.
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

NAME: Final = "entrypoint_guard"
"""Of the triggers, the event trigger and its function."""

TRY_S: Final = 0.2
"""Seconds that a removal waits for a table, and with it all who come after."""

LEAVE_S: Final = 1.0
"""Seconds in which `remove` waits, all in all, for tables that others use, to leave them alone."""


def remove(session: Session) -> None:
    """Remove what our role may remove, unless somebody pushes under the lock right now.

    Each in a transaction of its own, which waits `TRY_S` seconds for its table, and `LEAVE_S` for
    all of them. What stays is the next start's. Never raises: a connection that broke is the next
    statement's to notice.
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
