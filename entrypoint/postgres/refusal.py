"""How a guard refuses, in SQL: a function for drops, and a condition of built-ins for TRUNCATE.

Both run with the rights of who drops or truncates, whom they cannot harm more than he could
himself, and both do nothing but to tell unless his session has the push's mark. The function reads
a table's rows only for who has its owner's rights, and for no superuser unless the owner is one. Of
any other table they ask for the size, which evaluates none.

A push may hide the error that it got. A lock of its session outlives the transaction that ends with
the error, and the session sleeps until the guard's must have seen it. Its second key is any number,
for nobody can have taken all of them.
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
"""How what the server's error quotes begins; after it come labels, up to a semicolon."""

PATIENCE_S: Final = 1.0
"""Seconds that a refused statement waits for its refusal to be seen."""

LOOK_S: Final = 0.1
"""Seconds between two looks at what is refused, and at whether the push's mark is to be seen."""

SLACK_S: Final = 120.0
"""Seconds after the push's time is up until what is left of its guard does not even tell."""

GIVE_UP_S: Final = 60
"""Seconds in which the server itself tries to remove the triggers of a start that was killed."""

"""Goes behind what was lost: by which session, as far as its other end can know it."""

_HEARD: Final = "entrypoint.heard"
_SEEN: Final = "entrypoint.seen"
"""Settings of the guard's session, which nobody else can change."""

WAKE_S: Final = 5.0
"""Seconds in which the server must end a watch."""

AGAIN_S: Final = 0.2
"""Seconds until it is asked once more."""


class Refusal:
    """What one guard refuses to the sessions of the push with an application_name, and tells."""

    def __init__(
        self,
        session: Session,
        tables: Sequence[Table],
        allowed: Collection[str],
        name: str,
        lasts_s: float,
    ) -> None:
        """Prepare; ``tables`` are those with rows, ``allowed`` names may go.

        Raises `psycopg.Error` where the server does not let us look.
        """
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
        """Which function that it needs is not everybody's to call, if there is one."""
        row = self.session.row("postgres/functions_not_public")
        return f"EXECUTE on the function {row[0]} is revoked from PUBLIC" if row else None

    def _asks(self) -> sql.Composed:
        """Whether a session of one of the roles tells that it was refused something."""
        oids = sql.Literal([str(role) for role in self._roles])
        return sql.SQL(load_sql("postgres/refusal_told")).format(
            told=self._words["told"], roles=oids
        )

    def on_drop(self) -> str:
        """The statements that make the event trigger."""
        connection = self.session.connection
        body = sql.SQL(load_sql("postgres/refuse_drop")).format(**self._words).as_string(connection)
        statements = sql.SQL(load_sql("postgres/create_event_trigger")).format(body=body)
        return statements.as_string(connection)

    def on_truncate(self, table: Table) -> str:
        """The statement that makes the trigger of one table."""
        label = table.label()
        # Where a dead trigger could not be removed, it is replaced.
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
        """Whether anything was refused, even if the push hides the server's error.

        The start's own session must be watched until then, see `watch`.
        """
        self.wake()
        query = sql.SQL("select coalesce(current_setting({}, true), '') = 'on' or {}")
        statement = query.format(sql.Literal(_HEARD), self._asks())
        row = self.session.connection.execute(statement).fetchone()
        return bool(row and row[0])

    def others(self, tables: Mapping[int, Table], ports: Collection[int] | None) -> set[str]:
        """The labels of what sessions lost of these that are none of the push's.

        One that was there before is none. Nor is a new one without the mark, if the mark was seen,
        for then the push's sessions have it, or if its port is none of the push's ``ports``. None
        stands for ports that are not known; nor are they where somebody between us and the server
        changes them.
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
        """Have the server itself remove them when the session with this pid is gone.

        Until then it takes down what is refused to sessions of ``role``, that session's, or of our
        own. It goes on even if we are gone too: a backend notices that when it is done with what it
        was sent. Until `wake` the session can do nothing else.
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
        """End the watch, if there is one. Raises `psycopg.Error` when the server does not."""
        connection = self.session.connection
        if connection.info.transaction_status != TransactionStatus.ACTIVE:
            return
        deadline = time.monotonic() + WAKE_S
        while time.monotonic() < deadline:
            # The server ignores a request that reaches it before it has begun with the watch.
            connection.cancel_safe(timeout=WAKE_S)
            if self._woken(AGAIN_S):
                return
        raise psycopg.OperationalError

    def _woken(self, timeout_s: float) -> bool:
        """Whether the server ends the watch within this time."""
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
    """Our own end of the session's connection, as we know it; None where it has no port."""
    with socket.socket(fileno=os.dup(session.connection.fileno())) as end:
        name = end.getsockname()
    return name[1] if isinstance(name, tuple) else None


SINCE_14: Final = 140000
"""The first server version with CREATE OR REPLACE TRIGGER, and some settings."""
