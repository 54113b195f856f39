"""Why a connection attempt failed, without reading messages that may be in any language.

psycopg's errors carry no SQLSTATE while connecting (https://github.com/psycopg/psycopg/issues/1188).
The code is on the wire, though, and libpq can write down what passes there: a failed attempt is
repeated once with a trace, and the course of the conversation tells the cause.
"""

import os
import re
import select
import tempfile
import time
from collections.abc import Mapping
from typing import Final, Self

from psycopg import pq

from .cause import CHECK_SERVER, Cause, Kind, no_answer

_CLOSED: Final = "connection refused or closed by the server"

CHECK_TLS: Final = "Correct sslmode and the certificates it needs in {url}."
CHECK_AUTHORITY: Final = (
    "Correct sslmode in {url}, or name the server's authority in its sslrootcert or SSL_CERT_FILE."
)
CHECK_CREDENTIALS: Final = "Correct the user and the password in {url}."

_REFUSED: Final = {
    "28P01": CHECK_CREDENTIALS,
    "28000": "Let this role log in from this host: pg_hba.conf, LOGIN, or the role's name.",
    "42501": "Run GRANT CONNECT ON DATABASE ... TO the role of {url}.",
    "55000": "Allow connections to the database (ALTER DATABASE ... ALLOW_CONNECTIONS true), "
    "or drop it if it is invalid.",
    "0A000": "Correct the parameters of {url}.",
    "22023": "Correct the parameters of {url}.",
}
"""SQLSTATEs that no waiting heals, with what does."""

_PROTOCOL_VIOLATION: Final = "08P01"
"""What PgBouncer before 1.20 answers whatever is wrong."""

_LINE = re.compile(r"^(?P<way>[FB])\t\d+\t(?P<message>\w+)", re.MULTILINE)
_CODE = re.compile(r'^B\t\d+\tErrorResponse\t.*? C "(\w{5})"', re.MULTILINE)
_TEXT = re.compile(r' M "(.*?)"(?= [A-Zp] "| \\x00|$)', re.MULTILINE)

_MUST_HAVE_TLS: Final = ("require", "verify-ca", "verify-full")


def diagnose(params: Mapping[str, str], timeout_s: float) -> Cause:
    """Connect once more to a single address and say why it fails.

    Blocks up to ``timeout_s`` seconds; leaves no connection behind.
    """
    deadline = time.monotonic() + timeout_s
    conninfo = " ".join(f"{key}={_quoted(value)}" for key, value in params.items()).encode()
    connection = pq.PGconn.connect_start(conninfo)
    try:
        if connection.status == pq.ConnStatus.BAD:
            return _never_started(params)
        with _Recording(connection) as recording:
            finished = _poll(connection, deadline)
        if not finished:
            return no_answer(timeout_s)
        if connection.status == pq.ConnStatus.OK:
            return Cause(Kind.PASSED, "the first attempt failed, the second did not", CHECK_SERVER)
        return _explain(recording.text, params, needs_password=connection.needs_password)
    finally:
        connection.finish()


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _never_started(params: Mapping[str, str]) -> Cause:
    host = params.get("host", "")
    if host.startswith("/"):
        return Cause(Kind.TRANSIENT, f"no server listens on a socket in {host}", CHECK_SERVER)
    return Cause(
        Kind.REFUSED,
        "libpq refuses a parameter of the connection",
        "Correct the parameters of {url}.",
    )


class _Recording:
    """libpq's trace of one attempt. It can hold a password, so it never has a name on a disk."""

    def __init__(self, connection: pq.abc.PGconn) -> None:
        self._connection = connection
        self.text = ""

    def __enter__(self) -> Self:
        if hasattr(os, "memfd_create"):
            self._file = os.fdopen(os.memfd_create("entrypoint"), "rb")
        else:
            self._file = tempfile.TemporaryFile("rb")
        self._connection.trace(self._file.fileno())
        self._connection.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.untrace()
        self._file.seek(0)
        self.text = self._file.read().decode("utf-8", "replace")
        self._file.close()


def _poll(connection: pq.abc.PGconn, deadline: float) -> bool:
    """Drive the attempt to its end; False when the deadline came first."""
    while True:
        status = connection.connect_poll()
        if status in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
            return True
        reading = status == pq.PollingStatus.READING
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        socket = connection.socket
        select.select([socket] if reading else [], [] if reading else [socket], [], remaining)


def _explain(trace: str, params: Mapping[str, str], *, needs_password: bool) -> Cause:
    if code := _CODE.search(trace):
        return _server_said(trace, code[1])
    messages = [match["message"] for match in _LINE.finditer(trace)]
    last = messages[-1] if messages else ""
    if needs_password:
        return Cause(
            Kind.REFUSED,
            "the server wants a password and none is given",
            "Put the password into {url}; PGPASSWORD is the service's and not used.",
        )
    if last.startswith("Authentication"):
        return Cause(
            Kind.REFUSED,
            "the server's way of authentication is not what is demanded",
            "Correct require_auth and channel_binding in {url}.",
        )
    if last == "SSLResponse":
        return _tls(trace, params.get("sslmode", "prefer"))
    if messages == ["SSLRequest"]:
        # Nothing came back, or nothing that PostgreSQL says; only the first byte tells which.
        return _stranger(params)
    text = "no server accepts writes yet" if "ReadyForQuery" in messages else _CLOSED
    return Cause(Kind.TRANSIENT, text, CHECK_SERVER)


def _server_said(trace: str, code: str) -> Cause:
    text = _TEXT.search(trace)
    said = f"{text[1] if text else 'error'} ({code})"
    if code == "3D000":
        return Cause(Kind.MISSING, said, "Create the database.", code)
    if code in _REFUSED or code.startswith("28"):
        return Cause(Kind.REFUSED, said, _REFUSED.get(code, CHECK_CREDENTIALS), code)
    if code == _PROTOCOL_VIOLATION:
        before = [match["message"] for match in _LINE.finditer(trace)][-2:-1]
        if before == ["SASLResponse"]:  # our proof of the password was not accepted
            return Cause(Kind.REFUSED, said, CHECK_CREDENTIALS, code)
        return Cause(
            Kind.UNCLEAR,
            f"a pooler said: {said}",
            "Correct the user, the password and the database's name, or give "
            "ENTRYPOINT_DIRECT_URL, a connection past the pooler.",
            code,
        )
    return Cause(Kind.TRANSIENT, said, CHECK_SERVER, code)


def _tls(trace: str, sslmode: str) -> Cause:
    if re.search(r"^B\t1\tSSLResponse\t N", trace, re.MULTILINE):
        if sslmode in _MUST_HAVE_TLS:
            return Cause(
                Kind.REFUSED, f"the server has no TLS and sslmode={sslmode} wants it", CHECK_TLS
            )
        return Cause(Kind.TRANSIENT, _CLOSED, CHECK_SERVER)
    return Cause(
        Kind.REFUSED,
        f"TLS with the server could not be agreed on (sslmode={sslmode})",
        CHECK_AUTHORITY if sslmode.startswith("verify") else CHECK_TLS,
    )


def _stranger(params: Mapping[str, str]) -> Cause:
    """Ask for TLS by hand: a PostgreSQL server answers S or N (or E when it is too old)."""
    import socket
    import struct

    closed = Cause(Kind.TRANSIENT, _CLOSED, CHECK_SERVER)
    address = (params.get("hostaddr") or params.get("host", ""), int(params.get("port", "5432")))
    try:
        with socket.create_connection(address, timeout=2) as connection:
            connection.sendall(struct.pack("!ii", 8, 80877103))
            answer = connection.recv(1)
    except OSError:
        return closed
    if answer in (b"", b"S", b"N", b"E"):
        return closed
    return Cause(
        Kind.REFUSED,
        "what listens there does not speak PostgreSQL's protocol",
        "Correct the host and the port in {url}.",
    )
