"""libpq without psycopg, for programs that tests start by the thousand.

To import psycopg takes ten times the CPU of all that these programs do with it. Values are text.
"""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

FAILED = {"PGRES_BAD_RESPONSE", "PGRES_FATAL_ERROR"}
TUPLES = "PGRES_TUPLES_OK"
MESSAGE_PRIMARY = ord("M")
BAD = 1

_FOLDERS = (Path(each, "psycopg_binary.libs") for each in sys.path)
[_PATH] = {file for folder in _FOLDERS for file in folder.glob("libpq-*")}
_PQ = ctypes.CDLL(str(_PATH))

for _name in ("PQerrorMessage", "PQpass", "PQport", "PQresStatus"):
    getattr(_PQ, _name).restype = ctypes.c_char_p
for _name in ("PQresultErrorMessage", "PQresultErrorField", "PQgetvalue"):
    getattr(_PQ, _name).restype = ctypes.c_char_p
for _name in ("PQconnectdb", "PQexecParams", "PQexec"):
    getattr(_PQ, _name).restype = ctypes.c_void_p

_SILENT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: None)
"""Notices stay unsaid, as psycopg and node-postgres leave them."""


class Error(Exception):
    """The server's words, with and without all that stands below their first line."""

    def __init__(self, message: str, primary: str = "") -> None:
        super().__init__(message.strip().removeprefix("ERROR:").lstrip())
        self.primary = primary


class Connection:
    """One in autocommit mode; closed at the end of `with`."""

    def __init__(self, url: str) -> None:
        self._pq = ctypes.c_void_p(_PQ.PQconnectdb(url.encode()))
        if _PQ.PQstatus(self._pq) == BAD:
            raise Error(_PQ.PQerrorMessage(self._pq).decode())
        _PQ.PQsetNoticeReceiver(self._pq, _SILENT, None)
        self.pid = _PQ.PQbackendPID(self._pq)
        self.port = int(_PQ.PQport(self._pq))
        self.password = _PQ.PQpass(self._pq).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _PQ.PQfinish(self._pq)

    def execute(self, query: str, params: Sequence[object] = ()) -> list[str]:
        """The first column of its rows; ``$1`` is the first of ``params``."""
        if params:
            values = (ctypes.c_char_p * len(params))(*(str(each).encode() for each in params))
            asked = (query.encode(), len(params), None, values, None, None, 0)
            result = ctypes.c_void_p(_PQ.PQexecParams(self._pq, *asked))
        else:
            result = ctypes.c_void_p(_PQ.PQexec(self._pq, query.encode()))
        try:
            status = _PQ.PQresStatus(_PQ.PQresultStatus(result)).decode()
            if status in FAILED:
                message = _PQ.PQresultErrorMessage(result) or _PQ.PQerrorMessage(self._pq)
                primary = _PQ.PQresultErrorField(result, MESSAGE_PRIMARY) or b""
                raise Error(message.decode(), primary.decode())
            rows = range(_PQ.PQntuples(result)) if status == TUPLES else ()
            return [_PQ.PQgetvalue(result, row, 0).decode() for row in rows]
        finally:
            _PQ.PQclear(result)
