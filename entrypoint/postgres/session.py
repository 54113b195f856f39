"""Connections to PostgreSQL, and what its errors mean. The only user of psycopg.connect."""

import math
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg.abc import Params
from psycopg.rows import TupleRow

from ..config.conninfo import Conninfo
from ..errors import RefusedError, UnreachableError
from . import authorities, resolve
from .cause import Cause, ConnectError, Kind, no_answer
from .sql import load_sql

ATTEMPT_TIMEOUT_S: Final = 5.0
"""Seconds for one attempt: a server that answers at all answers sooner."""

SHORTEST_TIMEOUT_S: Final = 2.0
"""libpq's and psycopg's floor for connect_timeout."""

PATIENCE_S: Final = 60.0
"""Seconds that the statements of a start wait for the server in one session, all together."""

LOCK_WAIT_S: Final = 5.0
"""Seconds that one of them waits for somebody else's lock."""

WORD_S: Final = 2.0
"""Seconds that a server has, after a statement's timeout, to say so."""

PROBE_SHARE: Final = 0.6
"""Of an attempt's time, what the probe may take: without it the rest still tells something."""

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

_PROBE_TIMEOUT: Final = "select pg_catalog.set_config('statement_timeout', '{0:.0f}', true)"

_LIMITS: Final = "; set local statement_timeout = {:.0f}; set local lock_timeout = {:.0f}"

CANCELLED: Final = ("57014", "55P03")
"""SQLSTATEs of a statement that took longer than it may, or waited so long for a lock."""

_FIND_OUT: Final = (
    "Find out in pg_stat_activity what the server is busy with, or who holds the lock, and start "
    "again."
)

T = TypeVar("T")


class NoAnswerError(psycopg.OperationalError):
    """The server has not answered a statement in the time that the session has for it."""


class Connection(psycopg.Connection[TupleRow]):
    """One that is closed where the server says nothing for too long.

    The server ends a statement by itself at its ``statement_timeout``, unless it is frozen, or is
    no server.
    """

    patience_s: float = math.inf
    """Seconds that all further statements may wait for the server together."""

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:  # noqa: ANN401  psycopg's own
        """Do one exchange with the server. Raises `NoAnswerError` when patience ends."""
        if self.patience_s == math.inf:
            return super().wait(gen, *args, **options)
        started = time.monotonic()
        try:
            return super().wait(_until(started + self.patience_s, gen), *args, **options)
        except NoAnswerError:
            self.pgconn.finish()
            raise
        finally:
            self.patience_s = max(0.0, self.patience_s - (time.monotonic() - started))


def _until(deadline: float, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
    """The same exchange, which psycopg drives at least ten times a second."""
    ready = None
    while True:
        try:
            waits_for = gen.send(ready)
        except StopIteration as done:
            found: T = done.value
            return found
        if time.monotonic() > deadline:
            raise NoAnswerError("the server did not answer in time")
        ready = yield waits_for


class Session(NamedTuple):
    """A connection in autocommit mode to a server that accepts writes, or is only looked at."""

    connection: Connection
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
    def transaction(
        self, *, names: str = SEARCH_PATH, undone: bool = False, timeout_s: float | None = None
    ) -> Iterator[None]:
        """A transaction, or a savepoint of the open one, that looks for names in this path.

        ``default`` is the role's own, for queries that are not ours. With ``undone`` nothing that
        happens in it stays, whatever it was. With ``timeout_s`` all of it may take about so many
        seconds, and wait for a lock for half as many. Raises `psycopg.Error`.
        """
        begin = f"set local search_path = {names}"
        if timeout_s is not None:
            begin += _LIMITS.format(timeout_s * 1000, timeout_s * 500)
        elif self.pooled and self.connection.patience_s != math.inf:
            # `open_session` could set them for its own look only.
            begin += _LIMITS.format(PATIENCE_S * 1000, LOCK_WAIT_S * 1000)
        patience = nullcontext() if timeout_s is None else self.patience(timeout_s + WORD_S)
        with patience, self.connection.transaction(force_rollback=undone):
            self.connection.execute(begin.encode())
            yield

    def rows(self, query: str, params: Params | None = None) -> list[TupleRow]:
        """The answer to a query that `load_sql` knows by this name. Raises `psycopg.Error`."""
        return self.connection.execute(load_sql(query), params).fetchall()

    def row(self, query: str, params: Params | None = None) -> TupleRow | None:
        """The first row of it, if there is one. Raises `psycopg.Error`."""
        return self.connection.execute(load_sql(query), params).fetchone()

    @contextmanager
    def savepoint(self, settings: str = "", *, undone: bool = False) -> Iterator[None]:
        """A savepoint of the open transaction, which begins with statements for its ``settings``.

        The server takes back what the body did where one of its statements fails, or where it is to
        be ``undone``. Raises what the body raises.
        """
        execute = self.connection.execute
        execute(f"savepoint ours; {settings}".encode())
        try:
            yield
        except psycopg.Error:
            if self.connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
                execute("rollback to ours; release ours")
            raise
        execute("rollback to ours; release ours" if undone else "release ours")

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Let the statements of the body wait so long together, and not count for what follows.

        Their time on the server is theirs to set. Raises what the body raises.
        """
        before, self.connection.patience_s = self.connection.patience_s, seconds
        try:
            yield
        finally:
            self.connection.patience_s = before

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


def open_session(  # noqa: PLR0913  what a session must be told at its beginning
    conninfo: Conninfo,
    timeout_s: float,
    *,
    application_name: str,
    probe: str = "",
    patience_s: float = math.inf,
    reads: bool = False,
) -> Session:
    """Connect and look at the server's state: one connection and one round trip.

    The statements of ``probe`` are run with it, in the same transaction. Blocks for about
    ``timeout_s`` seconds for each address. With ``patience_s`` the session's statements may wait
    for the server so many seconds together, and each of them for a lock `LOCK_WAIT_S`; without it
    the role's own timeouts hold. Raises `ConnectError`, unless it only ``reads`` also for a server
    that is in recovery or read-only.
    """
    timeout_s = max(SHORTEST_TIMEOUT_S, timeout_s)
    deadline = time.monotonic() + timeout_s
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
        connection = Connection.connect(**params, autocommit=True, prepare_threshold=None)
    except psycopg.errors.ConnectionTimeout:
        raise ConnectError(no_answer(timeout_s)) from None
    except psycopg.Error:
        # Its text may quote the conninfo, so it goes no further.
        left_s = max(SHORTEST_TIMEOUT_S, deadline - time.monotonic())
        raise ConnectError(_diagnose_each(params, left_s)) from None
    except BaseException as error:
        # A signal: its traceback would keep the half-made connection open, and as long as somebody
        # logs in the server drops no database, which is what we may be about to do.
        from traceback import clear_frames

        clear_frames(error.__traceback__)
        raise
    # Whoever let us in need not answer: a fake server could talk for ever.
    connection.patience_s = timeout_s
    try:
        session = _checked(connection, probe, patience_s, reads=reads)
    except NoAnswerError:
        raise ConnectError(no_answer(timeout_s)) from None
    except BaseException:
        connection.close()
        raise
    connection.patience_s = patience_s
    return session


def _checked(connection: Connection, probe: str, patience_s: float, *, reads: bool) -> Session:
    try:
        (*_, row), probed = _look(connection, probe, patience_s)
    except NoAnswerError:
        raise
    except psycopg.Error as error:
        from .sqlstates import first_query  # only failures pay for it

        raise ConnectError(first_query(error)) from None
    database, in_recovery, read_only, backend_pid = row
    if in_recovery and not reads:
        raise ConnectError(
            Cause(
                Kind.TRANSIENT,
                "the server is a standby or still in recovery and accepts no writes",
                "Point {url} at the primary, or wait until this server is promoted.",
            )
        )
    if read_only and not reads:
        raise ConnectError(
            Cause(
                Kind.TRANSIENT,
                "the session is read-only",
                "Reset default_transaction_read_only for the role, the database or the server.",
            )
        )
    pooled = connection.info.backend_pid != backend_pid
    return Session(connection, database, pooled, tuple(probed))


def _look(
    connection: Connection, probe: str, patience_s: float
) -> tuple[list[TupleRow], list[TupleRow]]:
    """The rows of our own look, and those of the probe."""
    pid = connection.info.backend_pid
    begin, own = load_sql("postgres/session_begin").format(pid=pid), 2
    if patience_s != math.inf:
        own = 3
        timeouts = load_sql("postgres/session_timeouts").format(
            patience_ms=patience_s * 1000, lock_wait_ms=LOCK_WAIT_S * 1000, pid=pid
        )
        begin = f"{timeouts};{begin}"
    if probe:
        soon = _PROBE_TIMEOUT.format(connection.patience_s * PROBE_SHARE * 1000)
        try:
            rows = first_rows(connection, f"{begin};{soon};{probe}")
        except psycopg.Error:
            if connection.broken:
                raise
            # It met somebody who is changing the schema, or takes too long: then it has nothing to
            # say.
        else:
            return rows[:own], rows[own + 1 :]
    return first_rows(connection, begin), []


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
    """The cause that decides: of several servers, one that may still come up outweighs refusals.

    Of several addresses of one server, those where somebody was reached outweigh the others: a
    container without IPv6 never reaches half of them.
    """
    from .diagnosis import diagnose  # only failures pay for it

    deadline = time.monotonic() + timeout_s
    single = {
        key: str(params[key]).split(",") for key in ("host", "hostaddr", "port") if key in params
    }
    causes: dict[tuple[str, str], list[Cause]] = {}
    for index in range(max(map(len, single.values()))):
        chosen = {key: values[min(index, len(values) - 1)] for key, values in single.items()}
        remaining = max(SHORTEST_TIMEOUT_S, deadline - time.monotonic())
        cause = diagnose({**params, **{k: v for k, v in chosen.items() if v}}, remaining)
        server = chosen.get("host") or chosen.get("hostaddr", ""), chosen.get("port", "")
        causes.setdefault(server, []).append(cause)
    deciding = [
        cause
        for each in causes.values()
        for cause in ([one for one in each if not one.unreached] or each)
    ]
    order = (Kind.PASSED, Kind.MISSING, Kind.UNCLEAR, Kind.TRANSIENT, Kind.REFUSED)
    return min(deciding, key=lambda cause: order.index(cause.kind))


@contextmanager
def translated(doing: str, *, remedy: str) -> Iterator[None]:
    """Turn psycopg's errors in the body into ours, with the SQLSTATE and the server's words.

    A lost connection, a server that is going down and a statement that took longer than it may
    become `UnreachableError`, everything else `RefusedError` with ``remedy``: also what psycopg
    cannot read, which has no SQLSTATE.
    """
    try:
        yield
    except psycopg.Error as error:
        code = error.sqlstate
        lost = code is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        unknown = lost and not isinstance(error, NoAnswerError)
        said = error.diag.message_primary or ("the connection was lost" if unknown else str(error))
        message = f"{doing}: {said}" + (f" ({code})" if code else "")
        fields = {
            "sqlstate": code,
            "detail": error.diag.message_detail,
            "hint": error.diag.message_hint,
        }
        fields = {key: value for key, value in fields.items() if value}
        if code in CANCELLED:
            raise UnreachableError(message, remedy=_FIND_OUT, **fields) from None
        if lost or (code or "")[:2] in ("08", "53", "57"):
            from .sqlstates import remedy_of

            raise UnreachableError(message, remedy=remedy_of(code), **fields) from None
        raise RefusedError(message, remedy=remedy, **fields) from None


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
