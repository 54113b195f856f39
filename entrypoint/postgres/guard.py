"""Refuses, while somebody else's push runs, to drop what has rows, and to truncate it.

An event trigger and BEFORE TRUNCATE triggers, their functions in our session's ``pg_temp``. The
server removes a session's temporary objects at its end, whoever ends it, and what depends on them.
For that it needs each table for itself and waits as long as somebody reads it, with everybody else
behind it; so while the push runs, the session watches the start's on the server itself, and if that
one dies removes them in tries of `TRY_S` seconds. After a crash of the whole server they stay until
the next guard; so the functions do nothing unless our session holds an advisory lock of a random
key. Sessions that were open before are left alone: they are not the push's, and a live service may
truncate a table of its own.

Not covered: what a role may not guard (`Guard.drops`, `Guard.unguarded`), rows that DELETE takes,
values that UPDATE or ALTER COLUMN ... USING change, a table whose first row came after the push
began, and DROP DATABASE. `loss.compare` tells afterwards what of that it sees.
"""

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg import sql

from ..errors import PushError
from . import lock
from .refusal import ON_DROP, ON_TRUNCATE, TRY_S, Refusal
from .session import Session, translated
from .snapshot import Table

NAME: Final = "entrypoint_guard"
"""Of the triggers."""

DISARM_S: Final = 5.0
"""Seconds in which `Guard.disarm` tries again where somebody reads a table all the time."""

# A notice to a client that is gone would end its session in the middle of a watch.
_BEGIN: Final = """
set client_min_messages = error;
set statement_timeout = 0;
set tcp_keepalives_idle = 10;
set tcp_keepalives_interval = 5;
set tcp_keepalives_count = 3;
set tcp_user_timeout = 25000
"""

LEAVE_S: Final = 1.0
"""Seconds in which it waits, all in all, for tables that others use, to leave them alone."""

WAIT_S: Final = 1.0
"""Seconds that a trigger's creation waits for its table, and with it all who want to write."""

ARM_S: Final = 5.0
"""Seconds in which `arm` waits for tables, all in all."""

_SINCE_14: Final = 140000
"""The first server version with these settings and CREATE OR REPLACE TRIGGER."""

_BEGIN_14: Final = """
set idle_session_timeout = 0;
set client_connection_check_interval = 0
"""

_TRIGGERS: Final = "select tgrelid::regclass::text from pg_trigger where tgname = %s"

_FUNCTIONS: Final = """
select p.oid::regprocedure::text from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = pronamespace
where proname = any (%s) and nspname like 'pg\\_temp\\_%%'
"""


_HOLDER: Final = f"""
select held.pid, a.usesysid::int8 from ({lock.HOLDER.strip()}) as held
cross join lateral pg_stat_get_activity(held.pid) a
"""  # noqa: S608  the query of `lock`


@dataclass
class Guard:
    """An armed guard; a `process.Watch`, because a push must not outlive it."""

    session: Session
    refusal: Refusal
    drops: str | None = None
    """Why drops are not refused, by the server's word; None when they are."""

    unguarded: dict[str, str] = field(default_factory=dict)
    """Tables that TRUNCATE may still empty, and the server's word why."""

    def fileno(self) -> int:
        """The socket to watch."""
        return self.session.connection.fileno()

    def check(self) -> None:
        """Raise `PushError` if the session, and the guard with it, is gone. Never blocks."""
        if self.session.gone():
            raise self.lost()

    def lost(self) -> PushError:
        """The error for a guard that went away before the push was done."""
        return PushError(
            "the database session that guarded the push against loss was lost",
            remedy="Find in the server's log who ended it and start again.",
        )

    def refused(self) -> bool:
        """Whether it refused anything. Raises `PushError` like `check`."""
        try:
            return self.refusal.happened()
        except psycopg.Error:
            raise self.lost() from None

    def disarm(self, timeout_s: float = DISARM_S) -> list[str]:
        """Remove everything and close the session; the tables that keep a dead trigger.

        A trigger's removal needs its table for itself for a moment, and a backend that ends cannot
        be told to stop waiting for it. So it is tried again and again for ``timeout_s`` seconds.
        What somebody reads all the time keeps a trigger that never fires, until the next guard.
        Where not even that can be had, because somebody's transaction has written to it (and before
        PostgreSQL 14), the session stays on the server and tries on until that one ends.
        """
        left: list[str] = []
        try:
            left = self._disarm(time.monotonic() + timeout_s)
        except psycopg.Error:
            pass  # the server does the rest
        finally:
            self.session.close()
        return left

    def _disarm(self, deadline: float) -> list[str]:
        session = self.session
        self.refusal.sleep()
        if self.drops is None:
            _run(session, f"drop event trigger if exists {NAME}", deadline)
        while _remove_triggers(session, deadline) and time.monotonic() < deadline:
            time.sleep(TRY_S)  # those who queued up behind us come first
        if self.refusal.drop():  # also from tables that are not the role's to remove it from
            return []
        left = _tables(session)
        if session.server_version >= _SINCE_14:
            soon = time.monotonic() + LEAVE_S
            for table in left:  # without our functions, which needs no table for itself
                _run(
                    session,
                    f"create or replace trigger {NAME} before truncate on {table} when (false) "
                    "execute function pg_catalog.suppress_redundant_updates_trigger()",
                    soon,
                )
        if not self.refusal.drop():
            self.refusal.watch(None)
        return left


def _run(
    session: Session, statement: str, deadline: float = math.inf, wait_s: float = TRY_S
) -> psycopg.Error | None:
    """Run it; its error. Waits ``wait_s`` seconds for a lock, and hardly after ``deadline``.

    Raises when the connection is gone.
    """
    wait_ms = max(1, int(1000 * min(wait_s, deadline - time.monotonic())))
    try:
        session.connection.execute(f"set lock_timeout = {wait_ms}; {statement}".encode())
    except psycopg.Error as error:
        if session.connection.broken:
            raise
        return error
    return None


def _tables(session: Session) -> list[str]:
    """Those that have a trigger of a guard."""
    return [table for (table,) in session.connection.execute(_TRIGGERS, [NAME])]


def _remove_triggers(session: Session, deadline: float) -> bool:
    """Remove those that may be removed; whether somebody was in the way."""
    errors = [
        _run(session, f"drop trigger if exists {NAME} on {table}", deadline)
        for table in _tables(session)
    ]
    return any(isinstance(error, psycopg.errors.LockNotAvailable) for error in errors)


def arm(session: Session, tables: Sequence[Table], allowed: Collection[str]) -> Guard:
    """Guard these tables from now on, but for the names in ``allowed``, which may go.

    The session becomes the guard's. What the role may not do is told in the result. Each table is
    locked against writers for a moment; where that takes longer than a second, or than five for all
    of them, it is left unguarded against TRUNCATE. Raises `UnreachableError` when the connection is
    gone, and closes the session then.
    """
    try:
        with translated("arming the guard", remedy="Start again."):
            _begin(session)
            guard = Guard(session, Refusal(session, tables, allowed))
            _guard_drops(guard)
            _guard_truncates(guard, tables)
            if holder := session.connection.execute(_HOLDER).fetchone():
                guard.refusal.watch(*holder)
    except BaseException:
        session.close()
        raise
    return guard


def _begin(session: Session) -> None:
    """Prepare the session, and remove what a crashed server left; nobody else has a guard now.

    What cannot be removed is asleep, or its session is about to end.
    """
    connection = session.connection
    connection.execute(_BEGIN)
    if session.server_version >= _SINCE_14:
        connection.execute(_BEGIN_14)
    # What event triggers of others call may be anybody's. A role that may not turn them off has no
    # more rights than whoever made them.
    _run(session, "set session_replication_role = replica")
    soon = time.monotonic() + LEAVE_S
    _run(session, f"drop event trigger if exists {NAME}", soon)
    _remove_triggers(session, soon)
    names = [[ON_DROP, ON_TRUNCATE]]
    for (function,) in connection.execute(_FUNCTIONS, names).fetchall():
        _run(session, f"drop function {function}", soon)


def _guard_drops(guard: Guard) -> None:
    error = _run(
        guard.session,
        f"{guard.refusal.on_drop()};"
        f"create event trigger {NAME} on sql_drop execute function pg_temp.{ON_DROP}()",
    )
    guard.drops = _reason(error) if error else None


def _guard_truncates(guard: Guard, tables: Sequence[Table]) -> None:
    session = guard.session
    if error := _run(session, guard.refusal.on_truncate()):
        guard.unguarded = {table.label(): _reason(error) for table in tables}
        return
    # Where a dead trigger could not be removed, it is replaced.
    create = "create or replace" if session.server_version >= _SINCE_14 else "create"
    soon = time.monotonic() + ARM_S
    for table in tables:
        name = sql.Identifier(table.schema, table.name).as_string(session.connection)
        error = _run(
            session,
            f"{create} trigger {NAME} before truncate on {name} "
            f"execute function pg_temp.{ON_TRUNCATE}()",
            soon,
            WAIT_S,
        )
        if error:
            guard.unguarded[table.label()] = _reason(error)


def _reason(error: psycopg.Error) -> str:
    return error.diag.message_primary or type(error).__name__
