"""Guards a running push: the server refuses to drop or truncate tables that have rows.

A guard is an event trigger, whose function is in ``pg_temp`` of the guard's session, and a BEFORE
TRUNCATE trigger on each table. They refuse the push's own sessions, which have an application_name
or a setting from the push's environment. They report what all other sessions lose, so that the
start does not blame the push for it.

A dump taken under a guard restores. pg_dump leaves out the event trigger, a member of the extension
plpgsql; the server removes it with ``pg_temp`` whenever the guard's session ends. The tables'
triggers use built-in functions only, and their conditions expire with the push's time. While the
push runs, the guard's session watches the start's session on the server itself; if that one dies,
it removes the triggers, table by table, in tries of `TRY_S` seconds. The next start removes what is
left, see `leftovers`.

The guard does not cover: objects that the role may not guard (`Guard.drops`, `Guard.unguarded`), a
push whose client takes neither PGAPPNAME nor PGOPTIONS (Prisma's engine, JDBC), rows that DELETE
removes, values that UPDATE or ALTER COLUMN ... USING changes, a table that got its first row after
the push began, and DROP DATABASE. `loss.compare` reports afterwards what it sees of these.
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

DISARM_S: Final = 5.0  # seconds for which `Guard.disarm` tries to lock tables that others read
LEAVE_S: Final = 1.0  # seconds in total that `arm` waits for locks to remove an earlier guard
WAIT_S: Final = 1.0  # seconds that CREATE TRIGGER, and every later writer, waits for its table
ARM_S: Final = 5.0  # seconds in total that `arm` waits for tables to guard


@dataclass
class Guard:
    """An armed guard; a `child.Watch`, because the push must not outlive it."""

    session: Session
    refusal: Refusal | None = None  # None if the guard can refuse nothing
    drops: str | None = None  # the server's reason why it does not refuse drops; None if it does
    unguarded: dict[str, str] = field(default_factory=dict)
    """Tables that TRUNCATE may still empty, each with the server's reason."""

    def fileno(self) -> int:
        """The socket to watch."""
        return self.session.connection.fileno()

    def check(self) -> None:
        """Raise `PushError` if the session, and the guard with it, is gone. Never blocks."""
        if self.session.gone():
            raise self.lost_error()

    def lost_error(self) -> PushError:
        """The error for a guard whose session ended before the push did."""
        return PushError(
            "the database session that guarded the push against loss has ended",
            remedy="Find in the server's log what ended it, and start again.",
        )

    def refused(self) -> bool:
        """Whether the guard refused anything. Raises `PushError` like `check`."""
        try:
            return self.refusal is not None and self.refusal.happened()
        except psycopg.Error:
            raise self.lost_error() from None

    def others(
        self, tables: Mapping[int, Table], ports: Collection[int] | None = None
    ) -> frozenset[str]:
        """What other sessions lost of ``tables``, as `Table.label`s; empty if the guard is gone."""
        try:
            return frozenset(self.refusal.others(tables, ports) if self.refusal else ())
        except psycopg.Error:
            return frozenset()

    def disarm(self, timeout_s: float = DISARM_S) -> list[str]:
        """Remove the triggers and close the session; return the tables that keep a dead trigger.

        Tries for ``timeout_s`` seconds to lock the tables; others may read them all the time.
        """
        left: list[str] = []
        try:
            left = self._disarm(time.monotonic() + timeout_s)
        except psycopg.Error:
            pass  # the server or the next start removes the rest
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
            time.sleep(TRY_S)  # sessions that queued up behind us come first
        return left


def _run(
    session: Session, statement: str, deadline: float = math.inf, wait_s: float = TRY_S
) -> psycopg.Error | None:
    """Execute a statement and return its error. Raise it only if the connection is gone.

    Waits for a lock for ``wait_s`` seconds, or until ``deadline``, and at least for a millisecond.
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
    """Remove the triggers that our role may remove; return the tables that others have locked."""
    left = []
    for (table,) in session.rows("postgres/guarded_tables"):
        error = _run(session, f"drop trigger if exists {NAME} on {table}", deadline)
        if isinstance(error, psycopg.errors.LockNotAvailable):
            left.append(table)
    return left


def arm(
    session: Session, tables: Sequence[Table], allowed: Collection[str], name: str, lasts_s: float
) -> Guard:
    """Guard ``tables`` from now on, except for names in ``allowed``, and take over the session.

    The guard refuses sessions with the application_name ``name``, or with its `sessions.mark` as
    the setting; the push takes at most ``lasts_s`` seconds. The result says what the role may not
    guard. Each new trigger locks its table against writers for a moment; if the lock takes longer
    than `WAIT_S`, or `ARM_S` for all tables, the table stays open to TRUNCATE. If the connection is
    gone, this closes the session and raises `UnreachableError`.
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
    """Prepare the session and remove an earlier guard's remains: nobody else has a guard now."""
    connection = session.connection
    connection.execute(load_sql("postgres/guard_settings"))
    if session.server_version >= SINCE_14:
        connection.execute(load_sql("postgres/guard_settings_14"))
    # Other event triggers may call anybody's functions. If our role may not turn them off, it has
    # no more rights than their owners.
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
