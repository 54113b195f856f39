"""Connections to PostgreSQL, and what its errors mean. The only user of psycopg.connect."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from .. import aside
from ..errors import RefusedError, UnreachableError
from . import authorities, resolve
from .cause import CHECK_SERVER, Cause, ConnectError, Kind, no_answer
from .conninfo import Conninfo

ATTEMPT_TIMEOUT_S: Final = 5.0
"""Seconds for one attempt: a server that answers at all answers sooner."""

SHORTEST_TIMEOUT_S: Final = 2.0
"""libpq's and psycopg's floor for connect_timeout."""

_KEEPALIVE: Final = {
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""A server that vanished without a word is noticed within 25 s (idle + interval x count)."""

SEARCH_PATH: Final = "pg_catalog, pg_temp"
"""Where every session of ours looks for names. We may be a superuser, and the database's own role
may have put functions, operators and types, and a search_path, before the server's. Temporary
relations and types are searched first unless pg_temp is named, so it is, last."""

LOCALLY: Final = f"set local search_path = {SEARCH_PATH}"
"""Goes first in each transaction of a session that may be a pooler's: there `open_session` can set
the path only for its own look, because the next transaction may meet another server connection, and
this one is somebody else's next."""

# Whether a pooler stands between is known by the backend's pid, which a pooler invents. Only in a
# session of our own the path stays. Until it is set, every name has its schema.
#
# The database's owner may have set a role for all sessions in it. A superuser's would then look
# like that role's own, and what it evaluates could go back to the superuser.
_BEGIN: Final = """
select pg_catalog.set_config('search_path', '{0}',
  pg_catalog.pg_backend_pid() operator(pg_catalog.<>) {1}), (
    select pg_catalog.set_config('role', 'none',
      pg_catalog.pg_backend_pid() operator(pg_catalog.<>) {1})
    from pg_catalog.pg_roles where rolname operator(pg_catalog.=) session_user and rolsuper);
select pg_catalog.current_database(), pg_catalog.pg_is_in_recovery(),
  pg_catalog.current_setting('transaction_read_only') operator(pg_catalog.=) 'on',
  pg_catalog.pg_backend_pid()
"""


class Session(NamedTuple):
    """A connection in autocommit mode to a server that accepts writes."""

    connection: psycopg.Connection[TupleRow]
    database: str
    pooled: bool
    """Whether a pooler stands between: it invents the backend's pid that it reports."""

    probed: tuple[tuple[Any, ...], ...] = ()
    """The first rows of what `open_session` was asked to look at besides."""

    @property
    def server_version(self) -> int:
        """The server's version as an integer, 150018 for 15.18."""
        return self.connection.info.server_version

    @contextmanager
    def transaction(self, *, names: str = SEARCH_PATH, undone: bool = False) -> Iterator[None]:
        """A transaction, or a savepoint of the open one, that looks for names in this path.

        ``default`` is the role's own, for queries that are not ours. With ``undone`` nothing that
        happens in it stays, whatever it was. Raises `psycopg.Error`.
        """
        with self.connection.transaction(force_rollback=undone):
            self.connection.execute(f"set local search_path = {names}".encode())
            yield

    def gone(self) -> bool:
        """Whether the server ended it, as far as its socket has told. Never blocks."""
        pgconn = self.connection.pgconn
        try:
            pgconn.consume_input()
        except psycopg.OperationalError:
            return True
        return pgconn.status != psycopg.pq.ConnStatus.OK

    def close(self) -> None:
        """End the session, not waiting for the server; what is open is rolled back. Idempotent."""
        self.connection.close()


def open_session(
    conninfo: Conninfo, timeout_s: float, *, application_name: str, probe: str = ""
) -> Session:
    """Connect and look at the server's state: one connection and one round trip.

    The statements of ``probe`` are run with it, in the same transaction. Blocks for about
    ``timeout_s`` seconds for each address. Raises `ConnectError`, also for a server that is in
    recovery or read-only.
    """
    timeout_s = max(SHORTEST_TIMEOUT_S, timeout_s)
    params: dict[str, Any] = {
        **_KEEPALIVE,
        **authorities.trusted(resolve.addresses(conninfo, timeout_s)),
        "application_name": application_name,
        "client_encoding": "utf8",
        "connect_timeout": str(int(timeout_s)),
    }
    try:
        # Never a prepared statement: behind a transaction pooler the next query may meet another
        # server connection.
        connection = psycopg.connect(**params, autocommit=True, prepare_threshold=None)
    except psycopg.errors.ConnectionTimeout:
        raise ConnectError(no_answer(timeout_s)) from None
    except psycopg.Error:
        # Its text may quote the conninfo, so it goes no further.
        raise ConnectError(_diagnose_each(params, timeout_s)) from None
    except BaseException as error:
        # A signal: its traceback would keep the half-made connection open, and as long as somebody
        # logs in the server drops no database, which is what we may be about to do.
        from traceback import clear_frames

        clear_frames(error.__traceback__)
        raise
    # Whoever let us in need not answer: a fake server could talk for ever.
    limit = aside.Limit(connection.fileno(), timeout_s)
    try:
        with closing(limit):
            return _checked(connection, probe)
    except BaseException as error:
        connection.close()
        if limit.passed and isinstance(error, ConnectError):
            raise ConnectError(no_answer(timeout_s)) from None
        raise


def _checked(connection: psycopg.Connection[TupleRow], probe: str) -> Session:
    try:
        (_, row, *probed) = _look(connection, probe)
    except psycopg.Error as error:
        text = f"the connection broke ({error.sqlstate or type(error).__name__})"
        raise ConnectError(Cause(Kind.TRANSIENT, text, CHECK_SERVER, error.sqlstate)) from None
    database, in_recovery, read_only, backend_pid = row
    if in_recovery:
        raise ConnectError(
            Cause(
                Kind.TRANSIENT,
                "the server is a standby or still in recovery and accepts no writes",
                "Point {url} at the primary, or wait until this server is promoted.",
            )
        )
    if read_only:
        raise ConnectError(
            Cause(
                Kind.TRANSIENT,
                "the session is read-only",
                "Reset default_transaction_read_only for the role, the database or the server.",
            )
        )
    pooled = connection.info.backend_pid != backend_pid
    return Session(connection, database, pooled, tuple(probed))


def _look(connection: psycopg.Connection[TupleRow], probe: str) -> list[TupleRow]:
    begin = _BEGIN.format(SEARCH_PATH, connection.info.backend_pid)
    try:
        return first_rows(connection, f"{begin};{probe}" if probe else begin)
    except psycopg.Error:
        if connection.broken or not probe:
            raise
        # The probe met somebody who is changing the schema: then it has nothing to say.
        return first_rows(connection, begin)


def first_rows(connection: psycopg.Connection[TupleRow], statements: str) -> list[TupleRow]:
    """Run statements in one round trip; the first row of each that has one."""
    cursor = connection.execute(statements)
    rows = []
    while True:
        if cursor.description and (row := cursor.fetchone()) is not None:
            rows.append(row)
        if not cursor.nextset():
            return rows


def _diagnose_each(params: dict[str, Any], timeout_s: float) -> Cause:
    """The cause that decides: of several servers, one that may still come up outweighs refusals."""
    from .diagnosis import diagnose  # only failures pay for it

    deadline = time.monotonic() + timeout_s
    single = {
        key: str(params[key]).split(",") for key in ("host", "hostaddr", "port") if key in params
    }
    causes: list[Cause] = []
    for index in range(max(map(len, single.values()))):
        chosen = {key: values[min(index, len(values) - 1)] for key, values in single.items()}
        remaining = max(SHORTEST_TIMEOUT_S, deadline - time.monotonic())
        causes.append(diagnose({**params, **{k: v for k, v in chosen.items() if v}}, remaining))
    order = (Kind.PASSED, Kind.MISSING, Kind.UNCLEAR, Kind.TRANSIENT, Kind.REFUSED)
    return min(causes, key=lambda cause: order.index(cause.kind))


@contextmanager
def translated(doing: str, *, remedy: str) -> Iterator[None]:
    """Turn psycopg's errors in the body into ours, with the SQLSTATE and the server's words.

    A lost connection or a server that is going down becomes `UnreachableError`, everything else
    `RefusedError` with ``remedy``: also what psycopg cannot read, which has no SQLSTATE.
    """
    try:
        yield
    except psycopg.Error as error:
        code = error.sqlstate
        lost = code is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        said = error.diag.message_primary or ("the connection was lost" if lost else str(error))
        message = f"{doing}: {said}" + (f" ({code})" if code else "")
        fields = {
            "sqlstate": code,
            "detail": error.diag.message_detail,
            "hint": error.diag.message_hint,
        }
        fields = {key: value for key, value in fields.items() if value}
        if lost or (code or "")[:2] in ("08", "53", "57"):
            raise UnreachableError(message, remedy=CHECK_SERVER, **fields) from None
        raise RefusedError(message, remedy=remedy, **fields) from None
