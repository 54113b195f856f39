"""How a guard refuses, in SQL: a function for drops, a condition of built-ins for TRUNCATE.

Both run with the rights of the role that drops or truncates, so they can do nothing that this role
could not do; and both only report, unless its session has the push's mark. The function reads a
table's rows only if the role has the rights of the table's owner; for a superuser, only if the
owner is one, too. For any other table both ask for the size, which evaluates nothing.

A push may hide the error that it got. So the refused session takes an advisory lock, which outlives
the transaction that ends with the error, and sleeps until the guard's session must have seen it.
The lock's second key is a random number, because nobody can hold all of them.
"""

import os
import secrets
import select
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from .leftovers import TRY_S
from .session import Session, first_rows
from .sessions import mark
from .snapshot import Table
from .sql import load_sql

REFUSES: Final = "entrypoint refuses to lose the rows of"
"""The refusal in the server's error begins with it; labels follow, up to a semicolon."""

PATIENCE_S: Final = 1.0  # seconds that a refused statement sleeps until the guard must see it
LOOK_S: Final = 0.1  # seconds between the watch's looks at refusals and at the push's sessions
SLACK_S: Final = 120.0  # seconds after the push's time until a guard's remains even stop reporting
GIVE_UP_S: Final = 60  # seconds that the server tries to remove a killed start's triggers
_HEARD: Final = "entrypoint.heard"
_SEEN: Final = "entrypoint.seen"
"""Settings of the guard's session, which no other session can change."""

WAKE_S: Final = 5.0  # seconds that the server has to end a watch
AGAIN_S: Final = 0.2


class Refusal:
    """What one guard refuses the sessions of a push, and reports of all others."""

    def __init__(
        self,
        session: Session,
        tables: Sequence[Table],
        allowed: Collection[str],
        name: str,
        lasts_s: float,
    ) -> None:
        """Prepare for ``tables`` with rows; names in ``allowed`` may go. Raises `psycopg.Error`."""
        self.session = session
        self.notified: list[tuple[int, str]] = []
        told = secrets.randbits(31)
        self._channel = f"entrypoint_{secrets.token_hex(8)}"
        self._words: dict[str, sql.Composable] = {
            "name": sql.Literal(name),
            "mark": sql.Literal(mark(name)),
            "told": sql.Literal(told),
            "tables": sql.Literal([str(table.oid) for table in tables]),
            "allowed": sql.Literal(list(allowed)),
            "refuses": sql.Literal(REFUSES),
            "patience": sql.Literal(PATIENCE_S),
            "channel": sql.Literal(self._channel),
            "lasts_s": sql.Literal(lasts_s + SLACK_S),
        }
        self._roles: list[int] = []
        connection = session.connection
        before = sql.SQL(load_sql("postgres/before_guard")).format(asks=self._asks(), **self._words)
        [(until, self._there, port, self._roles, _)] = first_rows(
            connection, before.as_string(connection)
        )
        self._sees_ports = port is not None and port == _local_port(session)
        self._words["until"] = sql.Literal(until)
        connection.add_notify_handler(lambda got: self.notified.append((got.pid, got.payload)))
        connection.execute(f"listen {self._channel}".encode())

    def closed(self) -> str | None:
        """Why the guard cannot work: PUBLIC may not call a function that it needs; else None."""
        row = self.session.row("postgres/functions_not_public")
        return f"EXECUTE on the function {row[0]} is revoked from PUBLIC" if row else None

    def _asks(self) -> sql.Composed:
        oids = sql.Literal([str(role) for role in self._roles])
        return sql.SQL(load_sql("postgres/refusal_told")).format(
            told=self._words["told"], roles=oids
        )

    def on_drop(self) -> str:
        """The statements that create the event trigger."""
        connection = self.session.connection
        body = sql.SQL(load_sql("postgres/refuse_drop")).format(**self._words).as_string(connection)
        statements = sql.SQL(load_sql("postgres/create_event_trigger")).format(body=body)
        return statements.as_string(connection)

    def on_truncate(self, table: Table) -> str:
        """The statement that creates the trigger of one table."""
        label = table.label()
        # A dead trigger that nobody could remove gives way to the new one.
        replace = sql.SQL("or replace" if self.session.server_version >= SINCE_14 else "")
        statement = sql.SQL(load_sql("postgres/refuse_truncate")).format(
            replace=replace,
            table=sql.Identifier(table.schema, table.name),
            oid=table.oid,
            refusal=f"{REFUSES} {label}; allow it once with ENTRYPOINT_ALLOW_LOSS={label}",
            **self._words,
        )
        return statement.as_string(self.session.connection)

    def happened(self) -> bool:
        """Whether the guard refused anything, even if the push hides the error. Needs `watch`."""
        self.wake()
        query = sql.SQL("select coalesce(current_setting({}, true), '') = 'on' or {}")
        statement = query.format(sql.Literal(_HEARD), self._asks())
        row = self.session.connection.execute(statement).fetchone()
        return bool(row and row[0])

    def others(self, tables: Mapping[int, Table], ports: Collection[int] | None) -> set[str]:
        """The labels of what sessions other than the push's lost of ``tables``.

        A session that was there before the push is another's. So is a new session without the mark,
        if the watch saw the mark on others, because then the push's sessions have it; and a session
        whose port is not among the push's ``ports``. Nobody knows the ports if ``ports`` is None,
        or if something between us and the server changes them.
        """
        self.wake()
        query = sql.SQL("select coalesce(current_setting({}, true), '') = 'on'")
        row = self.session.connection.execute(query.format(sql.Literal(_SEEN))).fetchone()
        seen = bool(row and row[0])
        labels = set()
        for pid, payload in self.notified:
            number, port, column = (*payload.split(" ", 2), "", "")[:3]
            told = ports is not None and self._sees_ports and port.isdecimal()
            if told and int(port) in (ports or ()):
                continue
            table = tables.get(int(number)) if number.isdecimal() else None
            if table and (told or seen or pid in self._there):
                labels.add(table.label(column or None))
        return labels

    def watch(self, pid: int, role: int) -> None:
        """Let the server itself remove the triggers when the session with this pid is gone.

        Until `wake`, the guard's session can do nothing else: it notes refusals to sessions of
        ``role``, the watched session's, or of our own role. It goes on even if this process is
        gone, too: a backend notices that only at the end of its statements.
        """
        self._roles.append(role)
        connection = self.session.connection
        connection.execute(f"set lock_timeout = {int(TRY_S * 1000)}".encode())
        words = {
            "asks": self._asks(),
            "name": self._words["name"],
            "pid": pid,
            "look_s": LOOK_S,
            "give_up": f"{GIVE_UP_S} s",
            "heard": _HEARD,
            "seen": _SEEN,
        }
        watch = sql.SQL(load_sql("postgres/watch")).format(**words).as_bytes(connection)
        connection.pgconn.send_query(watch)
        connection.pgconn.flush()

    def wake(self) -> None:
        """End the watch, if there is one. Raises `psycopg.Error` if the server does not end it."""
        connection = self.session.connection
        if connection.info.transaction_status != TransactionStatus.ACTIVE:
            return
        deadline = time.monotonic() + WAKE_S
        while time.monotonic() < deadline:
            # The server ignores a cancel request that arrives before it has begun the watch.
            connection.cancel_safe(timeout=WAKE_S)
            if self._woken(AGAIN_S):
                return
        raise psycopg.OperationalError

    def _woken(self, timeout_s: float) -> bool:
        pgconn = self.session.connection.pgconn
        deadline = time.monotonic() + timeout_s
        while True:
            while pgconn.is_busy():
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not select.select([pgconn.socket], [], [], left_s)[0]:
                    return False
                pgconn.consume_input()
            if pgconn.get_result() is None:
                return True


def _local_port(session: Session) -> int | None:
    """Our end of the session's connection, as our side sees it; None for a Unix socket."""
    with socket.socket(fileno=os.dup(session.connection.fileno())) as end:
        name = end.getsockname()
    return name[1] if isinstance(name, tuple) else None


SINCE_14: Final = 140000  # the first version with CREATE OR REPLACE TRIGGER and some settings
