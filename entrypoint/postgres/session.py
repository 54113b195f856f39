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
from .cause import Cause, ConnectError, Kind, no_answer
from .opening import (
    CANCELLED,
    LOCK_WAIT_S,
    PATIENCE_S,
    SHORTEST_TIMEOUT_S,
    first_statements,
    limited,
    parameters,
)
from .sql import SEARCH_PATH, load_sql

WORD_S: Final = 2.0  # seconds that the server has to report a statement's timeout
_LIMITS: Final = "; set local statement_timeout = {:.0f}; set local lock_timeout = {:.0f}"
_FIND_OUT: Final = (
    "Look in pg_stat_activity for the sessions that keep the server busy or hold the lock, and "
    "start again."
)

_STANDBY: Final = Cause(
    Kind.TRANSIENT,
    "the server is a standby or still in recovery and accepts no writes",
    "Point {url} at the primary, or wait until this server is promoted.",
)
_READ_ONLY: Final = Cause(
    Kind.TRANSIENT,
    "the session is read-only",
    "Reset default_transaction_read_only for the role, the database or the server.",
)

T = TypeVar("T")


class NoAnswerError(psycopg.OperationalError):
    """The server did not answer a statement within the session's patience."""


class Connection(psycopg.Connection[TupleRow]):
    """A connection that closes itself if a frozen or fake server ignores ``statement_timeout``."""

    patience_s: float = math.inf  # seconds that all further statements may wait in total

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
    """Limit an exchange, which psycopg drives at least ten times a second."""
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
    """A connection in autocommit mode to a server that accepts writes, or that we only read."""

    connection: Connection
    database: str
    pooled: bool  # whether a pooler stands between us and the server: it invents the backend PID
    probed: tuple[tuple[Any, ...], ...] = ()  # first rows of `open_session`'s ``probe`` statements

    @property
    def server_version(self) -> int:
        """The server's version as an integer, 150018 for 15.18."""
        return self.connection.info.server_version

    @contextmanager
    def transaction(
        self, *, names: str = SEARCH_PATH, undone: bool = False, timeout_s: float | None = None
    ) -> Iterator[None]:
        """Open a transaction, or a savepoint of the open one, with ``names`` as search_path.

        ``default`` is the role's own path, for other people's queries. ``undone`` rolls everything
        back at the end. ``timeout_s`` limits the whole to about so many seconds, and each wait for
        a lock to half of them. Raises `psycopg.Error`.
        """
        begin = f"set local search_path = {names}"
        if timeout_s is not None:
            begin += _LIMITS.format(timeout_s * 1000, timeout_s * 500)
        elif self.pooled and self.connection.patience_s != math.inf:
            # Behind a pooler the limits of `open_session` held for its own look only.
            begin += _LIMITS.format(PATIENCE_S * 1000, LOCK_WAIT_S * 1000)
        patience = nullcontext() if timeout_s is None else self.patience(timeout_s + WORD_S)
        with patience, self.connection.transaction(force_rollback=undone):
            self.connection.execute(begin.encode())
            yield

    def rows(self, query: str, params: Params | None = None) -> list[TupleRow]:
        """Run a query that `load_sql` knows by this name. Raises `psycopg.Error`."""
        return self.connection.execute(load_sql(query), params).fetchall()

    def row(self, query: str, params: Params | None = None) -> TupleRow | None:
        """Its first row, or None. Raises `psycopg.Error`."""
        return self.connection.execute(load_sql(query), params).fetchone()

    @contextmanager
    def savepoint(self, settings: str = "", *, undone: bool = False) -> Iterator[None]:
        """Open a savepoint with ``settings``; undo it if a statement fails, or if ``undone``."""
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
        """Let the body's statements wait ``seconds`` together, apart from the session's own."""
        before, self.connection.patience_s = self.connection.patience_s, seconds
        try:
            yield
        finally:
            self.connection.patience_s = before

    def gone(self) -> bool:
        """Whether the server ended the session, as far as its socket tells. Never blocks."""
        pgconn = self.connection.pgconn
        try:
            pgconn.consume_input()
        except psycopg.OperationalError:
            return True
        return pgconn.status != psycopg.pq.ConnStatus.OK

    def close(self) -> None:
        """End the session without waiting for the server, which rolls back. Idempotent."""
        self.connection.close()


def open_session(  # noqa: PLR0913  the options of a connection
    conninfo: Conninfo,
    timeout_s: float,
    *,
    application_name: str,
    probe: str = "",
    patience_s: float = math.inf,
    reads: bool = False,
) -> Session:
    """Connect and look at the server's state: one connection and one round trip.

    Runs the statements of ``probe`` in the same transaction. Blocks for about ``timeout_s`` seconds
    for each address. With ``patience_s`` the session's statements together may wait so many seconds
    for the server, and each of them `LOCK_WAIT_S` for a lock; without it the role's own timeouts
    hold. Raises `ConnectError` and closes the connection, also if the server is in recovery or
    read-only, unless the caller only ``reads``.
    """
    timeout_s = max(SHORTEST_TIMEOUT_S, timeout_s)
    deadline = time.monotonic() + timeout_s
    params: dict[str, Any] = parameters(conninfo, timeout_s, application_name)
    try:
        # No prepared statements: behind a transaction pooler the next query may meet another server
        # connection.
        connection = Connection.connect(**params, autocommit=True, prepare_threshold=None)
    except psycopg.errors.ConnectionTimeout:
        raise ConnectError(no_answer(timeout_s)) from None
    except psycopg.Error:
        # psycopg's text may quote the conninfo with its password.
        left_s = max(SHORTEST_TIMEOUT_S, deadline - time.monotonic())
        raise ConnectError(_diagnose_each(params, left_s)) from None
    except BaseException as error:
        # A signal. Its traceback would keep the half-open connection, and the server drops no
        # database while somebody logs in to it, which may be our next step.
        from traceback import clear_frames

        clear_frames(error.__traceback__)
        raise
    # A server that lets us in may still not answer, and a fake one could talk for ever.
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
        database, in_recovery, read_only, backend_pid = row
    except NoAnswerError:
        raise
    except psycopg.Error as error:
        from .sqlstates import first_query  # only failures pay for it

        raise ConnectError(first_query(error)) from None
    except ValueError:
        text = "the first answer has other columns than PostgreSQL's"
        remedy = "Correct {url}, which must lead to a PostgreSQL server."
        raise ConnectError(Cause(Kind.REFUSED, text, remedy)) from None
    if not reads and (in_recovery or read_only):
        raise ConnectError(_STANDBY if in_recovery else _READ_ONLY)
    pooled = connection.info.backend_pid != backend_pid
    return Session(connection, database, pooled, tuple(probed))


def _look(
    connection: Connection, probe: str, patience_s: float
) -> tuple[list[TupleRow], list[TupleRow]]:
    """The rows of our own queries, and those of the probe."""
    begin, own = first_statements(connection.info.backend_pid, patience_s)
    if probe:
        try:
            rows = first_rows(connection, f"{begin};{limited(probe, connection.patience_s)}")
        except psycopg.Error:
            if connection.broken:
                raise
            # The probe took too long, or somebody is changing the schema: go on without it.
        else:
            return rows[:own], rows[own + 1 :]
    return first_rows(connection, begin), []


def first_rows(connection: psycopg.Connection[TupleRow], statements: str) -> list[TupleRow]:
    """Run statements in one round trip; return the first row of each that returns one."""
    cursor = connection.execute(statements)
    rows = []
    while True:
        if cursor.description and (row := cursor.fetchone()) is not None:
            rows.append(row)
        if not cursor.nextset():
            return rows


def _diagnose_each(params: dict[str, Any], timeout_s: float) -> Cause:
    """The cause that decides: of several servers, one that may still come up outweighs refusals.

    Of one server's addresses, those that answered outweigh the others: a container without IPv6
    never reaches half of them.
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

    A lost connection, a server that goes down and a statement that exceeds a timeout become
    `UnreachableError`. Everything else becomes `RefusedError` with ``remedy``, also an answer that
    psycopg cannot read, which has no SQLSTATE.
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
