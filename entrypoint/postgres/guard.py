"""Refuses, while somebody else's push runs, that it drops what has rows, or truncates it.

An event trigger with its function in our session's ``pg_temp``, and a BEFORE TRUNCATE trigger on
each table. They refuse to the push's own sessions, which are known by an application_name or a
setting that its environment gives them; of all others they tell what these lost, so that it is not
held against the push.

A dump restores whatever we do. The event trigger is a member of the extension plpgsql, of which
pg_dump writes none; the server removes it with ``pg_temp`` when our session ends, whoever ends it.
The triggers are made of built-ins, and their conditions end with the push's time. While it runs,
the session watches the start's on the server itself, and if that one dies removes them, table by
table, in tries of `TRY_S` seconds. What stays all the same (a reader that never ends, a crash of
the whole server) is the next start's to remove, see `leftovers`.

Not covered: what a role may not guard (`Guard.drops`, `Guard.unguarded`), a push whose client takes
neither PGAPPNAME nor PGOPTIONS (Prisma's engine, JDBC), rows that DELETE takes, values that UPDATE
or ALTER COLUMN ... USING change, a table whose first row came after the push began, and DROP
DATABASE. `loss.compare` tells afterwards what of that it sees.
"""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg

from ..errors import PushError
from .leftovers import NAME, TRY_S
from .refusal import SINCE_14, Refusal
from .session import Session, translated
from .snapshot import Table
from .sql import load_sql

DISARM_S: Final = 5.0
"""Seconds in which `Guard.disarm` tries again where somebody reads a table all the time."""

LEAVE_S: Final = 1.0
"""Seconds in which it waits, all in all, for tables that others use, to leave them alone."""

WAIT_S: Final = 1.0
"""Seconds that a trigger's creation waits for its table, and with it all who want to write."""

ARM_S: Final = 5.0
"""Seconds in which `arm` waits for tables, all in all."""


@dataclass
class Guard:
    """An armed guard; a `child.Watch`, because a push must not outlive it."""

    session: Session
    refusal: Refusal | None = None
    """None where nothing can be refused."""

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
            raise self.lost_error()

    def lost_error(self) -> PushError:
        """The error for a guard that went away before the push was done."""
        return PushError(
            "the database session that guarded the push against loss was lost",
            remedy="Find in the server's log who ended it and start again.",
        )

    def refused(self) -> bool:
        """Whether it refused anything. Raises `PushError` like `check`."""
        try:
            return self.refusal is not None and self.refusal.happened()
        except psycopg.Error:
            raise self.lost_error() from None

    def others(
        self, tables: Mapping[int, Table], ports: Collection[int] | None = None
    ) -> frozenset[str]:
        """What sessions lost meanwhile of these that are none of the push's: `Table.label`s.

        Empty where the guard is gone, which `refused` tells.
        """
        try:
            return frozenset(self.refusal.others(tables, ports) if self.refusal else ())
        except psycopg.Error:
            return frozenset()

    def disarm(self, timeout_s: float = DISARM_S) -> list[str]:
        """Remove everything and close the session; the tables that keep a dead trigger.

        A trigger's removal needs its table for itself for a moment. So it is tried again and again
        for ``timeout_s`` seconds. What somebody reads all the time keeps a trigger that refuses
        nothing, until the next start.
        """
        left: list[str] = []
        try:
            left = self._disarm(time.monotonic() + timeout_s)
        except psycopg.Error:
            pass  # the server does the rest, or the next start
        finally:
            self.session.close()
        return left

    def _disarm(self, deadline: float) -> list[str]:
        if self.refusal is None:
            return []
        self.refusal.wake()
        if self.drops is None:
            _drop_event_trigger(self.session, deadline)
        while left := _remove_triggers(self.session, deadline):
            if time.monotonic() >= deadline:
                break
            time.sleep(TRY_S)  # those who queued up behind us come first
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


def _drop_event_trigger(session: Session, deadline: float) -> None:
    _run(session, load_sql("postgres/remove_event_trigger"), deadline)


def _remove_triggers(session: Session, deadline: float) -> list[str]:
    """Remove those that may be removed; the tables where somebody was in the way."""
    left = []
    for (table,) in session.rows("postgres/guarded_tables"):
        error = _run(session, f"drop trigger if exists {NAME} on {table}", deadline)
        if isinstance(error, psycopg.errors.LockNotAvailable):
            left.append(table)
    return left


def arm(
    session: Session, tables: Sequence[Table], allowed: Collection[str], name: str, lasts_s: float
) -> Guard:
    """Guard these tables from now on, but for the names in ``allowed``, which may go.

    The sessions to refuse to are those with the application_name ``name``, or with the setting
    `sessions.mark` of it; the push takes at most ``lasts_s`` seconds. The session becomes the
    guard's. What the role may not do is told in the result. Each table is locked against writers
    for a moment; where that takes longer than a second, or than five for all of them, it is left
    unguarded against TRUNCATE. Raises `UnreachableError` when the connection is gone, and closes
    the session then.
    """
    guard = Guard(session)
    try:
        with translated("arming the guard", remedy="Start again."):
            _arm(guard, tables, allowed, name, lasts_s)
    except BaseException:
        session.close()
        raise
    return guard


def _arm(
    guard: Guard, tables: Sequence[Table], allowed: Collection[str], name: str, lasts_s: float
) -> None:
    session = guard.session
    try:
        _begin(session)
        refusal = Refusal(session, tables, allowed, name, lasts_s)
        holder = session.row("postgres/lock_holder_role")
        reason = refusal.closed()
    except psycopg.Error as error:
        if session.connection.broken:
            raise
        refusal, holder, reason = None, None, _reason(error)
    if refusal is None or reason:
        guard.drops = reason
        guard.unguarded = {table.label(): reason or "" for table in tables}
        return
    guard.refusal = refusal
    if problem := _run(session, refusal.on_drop()):
        guard.drops = _reason(problem)
    _guard_truncates(guard, refusal, [t for t in tables if not t.names() & set(allowed)])
    if holder:
        refusal.watch(*holder)


def _begin(session: Session) -> None:
    """Prepare the session, and remove what an earlier one left; nobody else has a guard now.

    What cannot be removed refuses nothing.
    """
    connection = session.connection
    connection.execute(load_sql("postgres/guard_settings"))
    if session.server_version >= SINCE_14:
        connection.execute(load_sql("postgres/guard_settings_14"))
    # What event triggers of others call may be anybody's. A role that may not turn them off has no
    # more rights than whoever made them.
    _run(session, "set session_replication_role = replica")
    soon = time.monotonic() + LEAVE_S
    _drop_event_trigger(session, soon)
    _remove_triggers(session, soon)
    for (function,) in connection.execute(load_sql("postgres/guard_functions")).fetchall():
        _run(session, f"drop function {function}", soon)


def _guard_truncates(guard: Guard, refusal: Refusal, tables: Sequence[Table]) -> None:
    session = guard.session
    oids = [table.oid for table in tables]
    own = {oid for (oid,) in session.connection.execute(load_sql("postgres/own_tables"), [oids])}
    soon = time.monotonic() + ARM_S
    for table in tables:
        if table.oid not in own:
            guard.unguarded[table.label()] = f"must be owner of table {table.name}"
        elif error := _run(session, refusal.on_truncate(table), soon, WAIT_S):
            guard.unguarded[table.label()] = _reason(error)


def _reason(error: psycopg.Error) -> str:
    return error.diag.message_primary or type(error).__name__
