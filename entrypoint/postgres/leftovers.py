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

NAME: Final = "entrypoint_guard"
"""Of the triggers, the event trigger and its function."""

TRY_S: Final = 0.2
"""Seconds that a removal waits for a table, and with it all who come after."""

LEAVE_S: Final = 1.0
"""Seconds in which `remove` waits, all in all, for tables that others use, to leave them alone."""

TABLES: Final = f"select tgrelid::regclass::text from pg_trigger where tgname = '{NAME}'"  # noqa: S608  a name of ours
"""Those that have a trigger of a guard."""

# It is a member of an extension, see `guard`; what an older version left is none.
DROP_EVENT_TRIGGER: Final = f"""
  if exists (select from pg_event_trigger e join pg_depend d on d.objid = e.oid
             where evtname = '{NAME}' and deptype = 'e'
               and classid = 'pg_event_trigger'::regclass) then
    alter extension plpgsql drop event trigger {NAME};
  end if;
  drop event trigger if exists {NAME};
"""
"""In PL/pgSQL, for an owner of both."""

FUNCTIONS: Final = f"""
select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = pronamespace
where proname in ('{NAME}', '{NAME}_truncate') and nspname like 'pg\\_temp\\_%'
  and pg_has_role(proowner, 'usage')
"""  # noqa: S608  a name of ours
"""Of guards, the second one of a version before this; a crash of the server leaves them."""

_OURS: Final = f"""
select exists (select from pg_event_trigger
               where evtname = '{NAME}' and pg_has_role(evtowner, 'usage')),
  array (select tgrelid::regclass::text from pg_trigger join pg_class c on c.oid = tgrelid
         where tgname = '{NAME}' and pg_has_role(relowner, 'usage')),
  array ({FUNCTIONS.strip()})
"""  # noqa: S608  a name of ours

# What event triggers of others call may be anybody's, and is not for a superuser's session.
_BEGIN: Final = f"""
set local lock_timeout = {{}};
select set_config('session_replication_role', 'replica', true)
from pg_roles where rolname = session_user and rolsuper;
select pg_try_advisory_xact_lock({lock.KEY})
"""  # noqa: S608  numbers of our own


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
            [(event_trigger, tables, functions)] = session.connection.execute(_OURS).fetchall()
        for what, statement in _statements(tables, functions, event_trigger=event_trigger):
            with suppress(psycopg.errors.LockNotAvailable), session.transaction():
                wait_ms = max(1, int(1000 * min(TRY_S, soon - time.monotonic())))
                cursor = session.connection.execute(_BEGIN.format(wait_ms).encode())
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
        yield "event trigger", f"do $$ begin {DROP_EVENT_TRIGGER} end $$"
    for table in tables:
        yield f"trigger on {table}", f"drop trigger if exists {NAME} on {table}"
    for function in functions:
        yield f"function {function}", f"drop function if exists {function}"
