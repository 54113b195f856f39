"""One look at a database through libpq itself: the first rows of some statements, or nothing.

A start with nothing to do needs one connection and a round trip or two. psycopg is imported from
some hundred files, and takes five times as long for that as libpq, which lies beside it. Whatever
surprises this module makes the look fail, and psycopg then finds out, and tells, what it was.
"""

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    import ctypes

_BAD: Final = 1  # CONNECTION_BAD; below, PostgresPollingStatusType and ExecStatusType
_READING, _WRITING, _OK = 1, 2, 3
_COMMAND_OK, _TUPLES_OK = 1, 2

PROTOTYPES: Final = {
    "PQconnectStartParams": "PGconn* char** char** int",
    "PQstatus": "int PGconn*",
    "PQconnectPoll": "int PGconn*",
    "PQsocket": "int PGconn*",
    "PQsetnonblocking": "int PGconn* int",
    "PQsetNoticeReceiver": "notice* PGconn* notice* void*",
    "PQsendQuery": "int PGconn* char*",
    "PQflush": "int PGconn*",
    "PQconsumeInput": "int PGconn*",
    "PQisBusy": "int PGconn*",
    "PQgetResult": "PGresult* PGconn*",
    "PQresultStatus": "int PGresult*",
    "PQntuples": "int PGresult*",
    "PQnfields": "int PGresult*",
    "PQftype": "int PGresult* int",
    "PQfformat": "int PGresult* int",
    "PQgetisnull": "int PGresult* int int",
    "PQgetvalue": "bytes PGresult* int int",
    "PQclear": "void PGresult*",
    "PQbackendPID": "int PGconn*",
    "PQfinish": "void PGconn*",
}
"""The functions of libpq-fe.h that we call: what each returns, and its parameters."""

_MOST: Final = 100  # results; the statements of a look have fewer

_LOADERS: Final[Mapping[int, Callable[[str], Any]]] = {
    16: lambda text: text == "t",  # bool
    19: str,  # name
    20: int,  # bigint
    23: int,  # integer
    25: str,  # text
}
"""What makes a value of its text, by its type's OID."""


class _Surprise(Exception):  # noqa: N818  it never leaves this module
    """Something that psycopg is to meet, and to tell."""


Ask = Callable[[str], list[tuple[Any, ...]]]
"""Runs statements in one round trip, and returns the first row of each that returns one."""

_T = TypeVar("_T")


def look(params: Mapping[str, str], talk: Callable[[int, Ask], _T], timeout_s: float) -> _T | None:
    """Connect, let ``talk`` ask, and close.

    ``talk`` gets the backend's PID, as the server announced it, and may ask until it knows what to
    return. Returns that; None after an error of any kind here, after a ValueError of ``talk``, or
    if all takes more than ``timeout_s`` seconds. Host names must be resolved
    (`resolve.addresses`), because libpq's own lookup knows no timeout.
    """
    deadline = time.monotonic() + timeout_s
    try:
        connection = _Connection(_library(), params)
        try:
            connection.open(deadline)

            def ask(statements: str) -> list[tuple[Any, ...]]:
                return list(connection.first_rows(statements, deadline))

            return talk(connection.pid, ask)
        finally:
            connection.close()
    except (_Surprise, ImportError, MemoryError, OSError, AttributeError, ValueError):
        # No ctypes, or none that the kernel lets work; a library that lacks a function; bytes or
        # values that psycopg does not understand either.
        return None


def _library() -> "ctypes.CDLL":
    """The libpq that psycopg's wheel brings. Raises `ImportError` and `AttributeError`."""
    import ctypes

    for folder in sys.path:
        beside = f"{folder or '.'}/psycopg_binary.libs"
        with suppress(OSError):
            for name in os.listdir(beside):
                if name.startswith("libpq-"):
                    return _typed(ctypes.CDLL(f"{beside}/{name}"))
    raise _Surprise


def _typed(library: "ctypes.CDLL") -> "ctypes.CDLL":
    from ctypes import POINTER, c_char_p, c_int, c_void_p

    kinds: dict[str, Any] = {"void": None, "int": c_int, "bytes": c_char_p, "char*": c_char_p}
    kinds["char**"] = POINTER(c_char_p)
    for function, types in PROTOTYPES.items():
        returned, *taken = types.split()
        found = getattr(library, function)
        found.restype = kinds.get(returned, c_void_p)
        found.argtypes = [kinds.get(each, c_void_p) for each in taken]
    return library


class _Connection:
    """A PGconn, and a PGresult of it at a time. Every method may raise `_Surprise`."""

    def __init__(self, pq: Any, params: Mapping[str, str]) -> None:  # noqa: ANN401  its functions have no types
        self._pq = pq
        self._conn = None
        keys = [key.encode() for key in params]
        values = [value.encode() for value in params.values()]
        if any(b"\0" in each for each in values):
            raise _Surprise
        from ctypes import c_char_p

        array = c_char_p * (len(keys) + 1)
        self._conn = pq.PQconnectStartParams(array(*keys, None), array(*values, None), 0)

    def open(self, deadline: float) -> None:
        """Wait until the server has accepted us."""
        pq, conn = self._pq, self._conn
        if not conn or pq.PQstatus(conn) == _BAD:
            raise _Surprise
        # Notices go nowhere, from the login on: libpq's own receiver prints them, one in Python
        # would swallow a signal, and PQntuples does nothing with the NULL that it gets.
        from ctypes import c_void_p, cast

        pq.PQsetNoticeReceiver(conn, cast(pq.PQntuples, c_void_p), None)
        state = _WRITING
        while state != _OK:
            self._wait(select.POLLOUT if state == _WRITING else select.POLLIN, deadline)
            state = pq.PQconnectPoll(conn)
            if state not in (_READING, _WRITING, _OK):
                raise _Surprise
        if pq.PQsetnonblocking(conn, 1):
            raise _Surprise

    @property
    def pid(self) -> int:
        """The PID of the backend, as the server or a pooler announced it."""
        return int(self._pq.PQbackendPID(self._conn))

    def first_rows(self, statements: str, deadline: float) -> Iterator[tuple[Any, ...]]:
        """Run statements in one round trip; the first row of each that returns one."""
        pq, conn = self._pq, self._conn
        if not pq.PQsendQuery(conn, statements.encode()):
            raise _Surprise
        for _ in range(_MOST):
            self._await(deadline)
            result = pq.PQgetResult(conn)
            if not result:
                return
            try:
                if (row := self._row(result)) is not None:
                    yield row
            finally:
                pq.PQclear(result)
        raise _Surprise

    def close(self) -> None:
        """Say goodbye; the server hears it later."""
        if self._conn:
            self._pq.PQfinish(self._conn)
            self._conn = None

    def _await(self, deadline: float) -> None:
        pq, conn = self._pq, self._conn
        while (left := pq.PQflush(conn)) or pq.PQisBusy(conn):
            if left < 0:
                raise _Surprise
            self._wait(select.POLLIN | select.POLLOUT if left else select.POLLIN, deadline)
            if not pq.PQconsumeInput(conn):
                raise _Surprise
        self._left_s(deadline)  # what lies in libpq's buffer already has its time, too

    def _row(self, result: int) -> tuple[Any, ...] | None:
        pq = self._pq
        status = pq.PQresultStatus(result)
        if status not in (_COMMAND_OK, _TUPLES_OK):
            raise _Surprise
        if status == _COMMAND_OK or not pq.PQntuples(result):
            return None
        return tuple(self._value(result, column) for column in range(pq.PQnfields(result)))

    def _value(self, result: int, column: int) -> Any:  # noqa: ANN401  of any type
        pq = self._pq
        load = _LOADERS.get(pq.PQftype(result, column))
        if load is None or pq.PQfformat(result, column):
            raise _Surprise
        if pq.PQgetisnull(result, 0, column):
            return None
        return load(pq.PQgetvalue(result, 0, column).decode())

    def _wait(self, events: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._pq.PQsocket(self._conn), events)
        if not poll.poll(self._left_s(deadline) * 1000):
            raise _Surprise

    def _left_s(self, deadline: float) -> float:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise _Surprise
        return left_s
