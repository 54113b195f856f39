"""The lock under which one replica pushes and seeds while the others wait.

A transaction-level advisory lock, in one READ COMMITTED transaction of the service's database that
stays open while the start needs the lock. A transaction pins its server connection, so the lock
holds behind a transaction pooler, where a session lock leaks to the pooler's next client. An idle
transaction that took only an advisory lock holds no snapshot, so the push's CREATE INDEX
CONCURRENTLY does not wait for it. A follower *blocked* in ``pg_advisory_lock`` would hold one and
hang the push for ever (https://github.com/golang-migrate/migrate/issues/960), so followers try and
sleep.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import psycopg

from .. import log
from ..errors import LockError
from ..retry import Backoff, Wait
from .opening import LOCK_WAIT_S, PATIENCE_S
from .session import Session
from .sql import load_sql, quoted

KEY: Final = int.from_bytes(hashlib.sha256(b"entrypoint").digest()[:8], signed=True)
"""One key for all: advisory locks are per database, and each service has its own database."""

POLL_S: Final = 0.25
ANSWER_S: Final = 10.0  # seconds that the server has to answer one try
_TRANSACTION_TIMEOUT_SINCE: Final = 170000


@dataclass
class Held:
    """The lock in our hands; work that may fail runs in a savepoint of its transaction.

    A context manager: the end of its body commits, which releases the lock, and closes the session.
    It commits after a failure, too, because the ledger's entries until then are true. Raises
    `LockError` there if the session, and the lock with it, was lost meanwhile.
    """

    session: Session

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.session.connection.execute("commit")
        except psycopg.Error:
            if kind is None:
                raise self.lost_error() from None
        finally:
            self.session.close()

    def fileno(self) -> int:
        """The socket to watch; the end of the session makes it readable."""
        return self.session.connection.fileno()

    def check(self) -> None:
        """Raise `LockError` if the session, and the lock with it, is gone. Never blocks."""
        if self.session.gone():
            raise self.lost_error()

    @property
    def broken(self) -> bool:
        """Whether a statement has already found the session gone."""
        return self.session.connection.broken

    def lost_error(self) -> LockError:
        """The error for a lock whose session ended while a child ran."""
        return LockError(
            "the database session that held the lock has ended",
            remedy="Find in the server's log what ended it (a restart, a failover, "
            "pg_terminate_backend), and start again.",
        )


def acquire(session: Session, reopen: Callable[[], Session], *, timeout_s: float) -> Held:
    """Wait for the lock, trying at least every `POLL_S` seconds, for at most ``timeout_s`` seconds.

    Any role that may connect can hold it. If the holder's role owns nothing in the database, the
    holder cannot be a start, and `acquire` ends its session where our role may. A follower whose
    session breaks continues with one from ``reopen``. Logs contention at once, then every 10 s.
    Raises `LockError` with the holder when the time is up; closes the session then and on a signal.
    """
    backoff = Backoff(time.monotonic() + timeout_s, initial_s=POLL_S, cap_s=POLL_S)
    wait = Wait("lock.contended", backoff, level="info")
    session.connection.patience_s = ANSWER_S
    try:
        while not (got := _try(session)):
            if got is None:
                session.close()
                session = reopen()
            session.connection.patience_s = ANSWER_S
            delay = backoff.next_delay(time.monotonic())
            holder = _holder(session)
            held_s = holder.pop("holder_for_s", None)
            if stranger := _stranger(session, holder):
                holder["holder_role"] = stranger
                if _ended(session, holder["holder_pid"]):
                    log.event("warning", "lock.holder_ended", **holder)
            if delay is None:
                raise _busy(holder, session.database, timeout_s)  # noqa: TRY301  the handler closes the session
            wait.tell(f"lock held by {_who(holder)}", since_s=held_s, **holder)
            time.sleep(delay)
    except BaseException:
        session.close()
        raise
    session.connection.patience_s = PATIENCE_S
    return Held(session)


def _try(session: Session) -> bool | None:
    """Whether we have the lock now; None if the session is broken."""
    connection = session.connection
    begin = load_sql("postgres/lock_begin").format(
        patience_ms=PATIENCE_S * 1000, lock_wait_ms=LOCK_WAIT_S * 1000
    )
    if session.server_version >= _TRANSACTION_TIMEOUT_SINCE:
        begin += "set local transaction_timeout = 0;\n"
    try:
        cursor = connection.execute(f"{begin} select pg_catalog.pg_try_advisory_xact_lock({KEY})")
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        if row is not None and row[0]:
            return True
        connection.execute("rollback")
    except psycopg.OperationalError:
        return None
    return False


def _holder(session: Session) -> dict[str, Any]:
    """The holder as fields of an event; empty if it has just let go, or our role cannot see it."""
    try:
        with session.transaction():
            cursor = session.connection.execute(load_sql("postgres/lock_holder"))
    except psycopg.Error:  # the next try notices a lost connection
        return {}
    names = [f"holder_{column.name}" for column in cursor.description or []]
    row = cursor.fetchone()
    fields = zip(names, row or (), strict=False)
    return {name: value for name, value in fields if value is not None}


def _stranger(session: Session, holder: dict[str, Any]) -> str | None:
    """The holder's role, if it cannot be a start's."""
    try:
        with session.transaction():
            row = session.row("postgres/lock_stranger", [holder.get("holder_pid", 0)])
    except psycopg.Error:
        return None
    return str(row[0]) if row else None


def _ended(session: Session, pid: int) -> bool:
    """End that session; return whether our role may."""
    try:
        session.connection.execute("select pg_catalog.pg_terminate_backend(%s)", [pid])
    except psycopg.Error:
        return False
    return True


def _who(holder: dict[str, Any]) -> str:
    name: str = holder.get("holder_application_name") or "somebody"
    return name.removeprefix("entrypoint/")


def _busy(holder: dict[str, Any], database: str, timeout_s: float) -> LockError:
    if stranger := holder.get("holder_role"):
        end = f"SELECT pg_terminate_backend({holder['holder_pid']})"
        close = f"REVOKE CONNECT ON DATABASE {quoted(database)} FROM {quoted(stranger)}, PUBLIC"
        return LockError(
            f"the lock was not free within {timeout_s:.0f} s: {_describe(holder)}; its role "
            f"{stranger!r} owns nothing in this database, so the holder is not a service's start",
            remedy=f"As a superuser, run {end}, and {close}.",
            **holder,
        )
    query = " ".join(load_sql("postgres/lock_holder").split())
    return LockError(
        f"the lock was not free within {timeout_s:.0f} s: {_describe(holder)}",
        remedy="Wait for the holder, or end it with pg_terminate_backend(pid); to find it, run in "
        f"the service's database: {query}",
        **holder,
    )


def _describe(holder: dict[str, Any]) -> str:
    if not holder:
        return "the holder could not be determined"
    who = holder.get("holder_application_name") or "somebody"
    where = holder.get("holder_client_addr", "a local socket")
    since = holder.get("holder_since", "an unknown time")
    return f"{who} has it (pid {holder.get('holder_pid')}, from {where}, since {since})"
