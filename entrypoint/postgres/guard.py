"""Refuses, while somebody else's push runs, to drop what has rows, and to truncate it.

An event trigger and BEFORE TRUNCATE triggers, their functions in our session's ``pg_temp``. The
server removes a session's temporary objects at its end, whoever ends it, and what depends on them.
After a crash of the whole server they stay until the next guard; so the functions do nothing unless
our session holds an advisory lock of a random key. Sessions that were open before are left alone:
they are not the push's, and a live service may truncate a table of its own.

Not covered: what a role may not guard (`Guard.drops`, `Guard.unguarded`), rows that DELETE takes,
values that UPDATE or ALTER COLUMN ... USING change, a table whose first row came after the push
began, and DROP DATABASE. `loss.compare` tells afterwards what of that it sees.
"""

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg import sql

from ..errors import PushError
from .refusal import COUNTER, ON_DROP, ON_TRUNCATE, Refusal
from .session import Session, translated
from .snapshot import Table

NAME: Final = "entrypoint_guard"
"""Of the triggers."""

TRY_S: Final = 0.2
"""Seconds that a trigger's removal waits for its table, and with it all who come after."""

DISARM_S: Final = 5.0
"""Seconds in which `Guard.disarm` tries again where somebody reads a table all the time."""

_BEGIN: Final = """
set search_path = pg_catalog;
set statement_timeout = 0;
set tcp_keepalives_idle = 10;
set tcp_keepalives_interval = 5;
set tcp_keepalives_count = 3;
set tcp_user_timeout = 25000
"""

_SINCE_14: Final = 140000
"""The first server version with idle_session_timeout and CREATE OR REPLACE TRIGGER."""

_TRIGGERS: Final = "select tgrelid::regclass::text from pg_trigger where tgname = %s"

_FUNCTIONS: Final = """
select p.oid::regprocedure::text from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = pronamespace
where proname = any (%s) and nspname like 'pg\\_temp\\_%%'
"""


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
        be told to stop waiting for it. So it is tried again and again for ``timeout_s`` seconds;
        what somebody reads all the time keeps a trigger that never fires, until the next guard.
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
        connection = self.session.connection
        if self.drops is None:
            connection.execute(f"drop event trigger {NAME}")
        while (left := _remove_triggers(self.session)) and time.monotonic() < deadline:
            time.sleep(TRY_S)  # those who queued up behind us come first
        if not left:
            self.refusal.drop()
        elif self.session.server_version >= _SINCE_14:
            connection.execute("set lock_timeout = '1s'")
            for table in left:  # without our functions, which needs no table for itself
                connection.execute(
                    f"create or replace trigger {NAME} before truncate on {table} when (false) "
                    "execute function pg_catalog.suppress_redundant_updates_trigger()".encode()
                )
        return left


def _remove_triggers(session: Session) -> list[str]:
    """Remove what is free for `TRY_S` seconds; the names of the tables that are not."""
    connection = session.connection
    connection.execute(f"set lock_timeout = {int(TRY_S * 1000)}")
    left = []
    for (table,) in connection.execute(_TRIGGERS, [NAME]).fetchall():
        try:
            connection.execute(f"drop trigger {NAME} on {table}".encode())
        except psycopg.errors.LockNotAvailable:
            left.append(table)
        except psycopg.errors.UndefinedTable:
            pass  # dropped meanwhile, which removes it as well
    return left


def arm(session: Session, tables: Sequence[Table], allowed: Collection[str]) -> Guard:
    """Guard these tables from now on, but for the names in ``allowed``, which may go.

    The session becomes the guard's. What the role may not do is told in the result. Each table is
    locked against writers for a moment; where that takes longer than a second it is left unguarded
    against TRUNCATE. Raises `UnreachableError` when the connection is gone, and closes the session
    then.
    """
    try:
        with translated("arming the guard", remedy="Start again."):
            _begin(session)
            guard = Guard(session, Refusal(session, tables, allowed))
            _guard_drops(guard)
            _guard_truncates(guard, tables)
    except BaseException:
        session.close()
        raise
    return guard


def _begin(session: Session) -> None:
    """Prepare the session, and remove what a crashed server left; nobody else has a guard now."""
    connection = session.connection
    connection.execute(_BEGIN)
    if session.server_version >= _SINCE_14:
        connection.execute("set idle_session_timeout = 0")
    with suppress(psycopg.errors.ProgrammingError):  # somebody else's: it is asleep
        connection.execute(f"drop event trigger if exists {NAME}")
        _remove_triggers(session)
        names = [[ON_DROP, ON_TRUNCATE, COUNTER]]
        for (function,) in connection.execute(_FUNCTIONS, names).fetchall():
            connection.execute(f"drop function {function}".encode())
    connection.execute("set lock_timeout = '1s'")


def _guard_drops(guard: Guard) -> None:
    try:
        guard.refusal.on_drop()
        guard.session.connection.execute(
            f"create event trigger {NAME} on sql_drop execute function pg_temp.{ON_DROP}()"
        )
    except psycopg.Error as error:
        if guard.session.connection.broken:
            raise
        guard.drops = error.diag.message_primary or type(error).__name__


def _guard_truncates(guard: Guard, tables: Sequence[Table]) -> None:
    try:
        guard.refusal.on_truncate()
    except psycopg.Error as error:
        if guard.session.connection.broken:
            raise
        reason = error.diag.message_primary or type(error).__name__
        guard.unguarded = {table.label(): reason for table in tables}
        return
    statement = sql.SQL("create trigger {} before truncate on {} execute function pg_temp.{}()")
    for table in tables:
        name = sql.Identifier(table.schema, table.name)
        names = sql.Identifier(NAME), name, sql.Identifier(ON_TRUNCATE)
        try:
            guard.session.connection.execute(statement.format(*names))
        except psycopg.Error as error:
            if guard.session.connection.broken:
                raise
            guard.unguarded[table.label()] = error.diag.message_primary or type(error).__name__
