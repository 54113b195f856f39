"""Why a connection attempt failed, read from the protocol: messages may be in any language.

psycopg's errors have no SQLSTATE while connecting (https://github.com/psycopg/psycopg/issues/1188),
but the server sends one and libpq can trace the protocol. So `diagnose` repeats a failed attempt
once with a trace and reads the cause from the conversation.
"""

import errno
import os
import re
import select
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Final, Self

from psycopg import pq

from .cause import CHECK_SERVER, Cause, Kind, no_answer
from .sqlstates import CHECK_CREDENTIALS, CHECK_PARAMETERS, ErrorResponse, cause_of, clean, verdict

_CLOSED: Final = "connection refused or closed by the server"

_CHECK_ROOT: Final = (
    "Put the certificate of the server's authority, as PEM, into the file that sslrootcert in "
    "{url} or SSL_CERT_FILE names."
)
CHECK_TLS: Final = "Correct sslmode and the certificates it needs in {url}."
CHECK_AUTHORITY: Final = (
    "Correct sslmode in {url}, or name the server's authority in its sslrootcert or SSL_CERT_FILE."
)
_CHECK_AUTHENTICATION: Final = "Correct require_auth and channel_binding in {url}."
_CHECK_ROUTE: Final = (
    "Give this container's network a route to {address}, or name another host in {{url}}; if the "
    "route comes up later, raise ENTRYPOINT_WAIT_TIMEOUT."
)
_CHECK_IPV6: Final = (
    "Use a host in {{url}} that has an IPv4 address (a pooler's has one in most cases), or give "
    "this container's network IPv6: {address} is IPv6 and has no route; if the route comes up "
    "later, raise ENTRYPOINT_WAIT_TIMEOUT."
)

_MESSAGE = re.compile(r"^(?P<way>[FB])\t\d+\t(?P<name>\w+)(?P<body>.*?)(?=^[FB]\t\d+\t\w|\Z)",
                      re.MULTILINE | re.DOTALL)  # fmt: skip
_FIELD: Final = r' {} "(.*?)"(?= [A-Za-z] "| \\x00)'
_MUST_HAVE_TLS: Final = ("require", "verify-ca", "verify-full")

_ROUTELESS: Final = (
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
)
"""The kernel's errors for a packet that found no way to the server, or none back."""

_PROBE_S: Final = 2.0  # seconds for a socket of our own, which learns what libpq did not show
_UNTRIED: Final = frozenset({"host", "hostaddr", "port", "user", "password", "dbname"})
"""Parameters that libpq accepts with any value."""


def diagnose(params: Mapping[str, str], timeout_s: float) -> Cause:
    """Connect once more to a single address and say why the attempt fails.

    Blocks for up to ``timeout_s`` seconds and four more; leaves no connection behind.
    """
    deadline = time.monotonic() + timeout_s
    connection = _begin(params)
    try:
        if connection.status == pq.ConnStatus.BAD:
            return _never_started(params)
        with _Recording(connection) as recording:
            finished = _poll(connection, deadline, recording)
        if not finished:
            return no_answer(timeout_s)
        if connection.status == pq.ConnStatus.OK:
            return _passed()
        words = connection.error_message.decode("utf-8", "replace")
        return _explain(recording, params, words, needs_password=connection.needs_password)
    finally:
        connection.finish()


def _begin(params: Mapping[str, str]) -> pq.abc.PGconn:
    quoted = (re.sub(r"([\\'])", r"\\\1", value) for value in params.values())
    pairs = (f"{key}='{value}'" for key, value in zip(params, quoted, strict=True))
    return pq.PGconn.connect_start(" ".join(pairs).encode())


def _passed() -> Cause:
    return Cause(Kind.PASSED, "the first attempt failed, the second did not", CHECK_SERVER)


def _never_started(params: Mapping[str, str]) -> Cause:
    """Explain an attempt that sent nothing: libpq refused a parameter, or the kernel an address."""
    if names := _refused_parameters(params):
        return Cause(
            Kind.REFUSED,
            f"libpq refuses {' or '.join(names)} as given, before it connects",
            f"Correct {' or '.join(names)} in {{url}}, or remove it.",
        )
    if found := _reach(params):
        return found
    if "requirepeer" not in params:
        return _passed()
    return Cause(
        Kind.REFUSED,
        "another user than requirepeer's runs the server behind the socket in "
        f"{params.get('host')}",
        "Correct requirepeer in {url}.",
    )


def _refused_parameters(params: Mapping[str, str]) -> list[str]:
    """The parameters that libpq refuses for any server: a listener of our own is surely there."""
    try:
        listener = socket.create_server(("127.0.0.1", 0))
    except OSError:
        return []
    with closing(listener):
        port = str(listener.getsockname()[1])
        there = {"host": "127.0.0.1", "hostaddr": "127.0.0.1", "port": port}
        least = {"user": "u", "dbname": "d", "connect_timeout": "2", **there}
        own = {key: value for key, value in params.items() if key not in _UNTRIED}
        if _accepts({**own, **least}) or not _accepts(least):
            return []
        alone = [key for key in own if not _accepts({key: own[key], **least})]
        return alone or [key for key in own if _accepts({**_without(own, key), **least})]


def _accepts(params: Mapping[str, str]) -> bool:
    connection = _begin(params)
    try:
        return connection.status != pq.ConnStatus.BAD
    finally:
        connection.finish()


def _without(params: Mapping[str, str], left_out: str) -> dict[str, str]:
    return {key: value for key, value in params.items() if key != left_out}


def _reach(params: Mapping[str, str]) -> Cause | None:
    """Why the kernel cannot connect to the server; None if it can."""
    try:
        _dial(params).close()
    except TimeoutError:
        return no_answer(_PROBE_S)._replace(unreached=True)
    except OSError as error:
        return _unreachable(params, error)
    return None


def _dial(params: Mapping[str, str]) -> socket.socket:
    host = params.get("host", "")
    port = int(params.get("port") or "5432")
    if not host.startswith("/"):
        return socket.create_connection((params.get("hostaddr") or host, port), _PROBE_S)
    dialled = socket.socket(socket.AF_UNIX)
    try:
        dialled.settimeout(_PROBE_S)
        dialled.connect(f"{host}/.s.PGSQL.{port}")
    except BaseException:
        dialled.close()
        raise
    return dialled


def _unreachable(params: Mapping[str, str], error: OSError) -> Cause:
    host = params.get("host", "")
    if host.startswith("/"):
        if error.errno in (errno.EACCES, errno.EPERM):
            text = f"this container's user may not use the socket in {host}"
            remedy = "Give that user access to the socket, or correct the host in {url}."
            return Cause(Kind.TRANSIENT, text, remedy)
        return Cause(Kind.TRANSIENT, f"no server listens on a socket in {host}", CHECK_SERVER)
    if error.errno in (errno.ECONNREFUSED, errno.ECONNRESET):
        return Cause(Kind.TRANSIENT, _CLOSED, CHECK_SERVER, unreached=True)
    address = params.get("hostaddr") or host
    code = errno.errorcode.get(error.errno or 0, "no connection")
    said = f"{(error.strerror or code).lower()} ({code}, {address})"
    if error.errno not in _ROUTELESS:
        return Cause(Kind.TRANSIENT, said, CHECK_SERVER, unreached=True)
    remedy = (_CHECK_IPV6 if ":" in address else _CHECK_ROUTE).format(address=address)
    return Cause(Kind.TRANSIENT, f"no route to the server: {said}", remedy, unreached=True)


class _Recording:
    """libpq's trace of one attempt. It may contain a password, so its file never has a name."""

    def __init__(self, connection: pq.abc.PGconn) -> None:
        self._connection = connection
        self._end = -1
        self.text = ""
        self.hung_up = True  # whether the kernel says that the other side closed; else libpq did

    def __enter__(self) -> Self:
        try:
            self._file = os.fdopen(os.memfd_create("entrypoint"), "rb")
        except (AttributeError, OSError):  # not Linux, or a seccomp profile refuses it
            self._file = tempfile.TemporaryFile("rb")
        self._connection.trace(self._file.fileno())
        self._connection.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.untrace()
        self._file.seek(0)
        self.text = self._file.read().decode("utf-8", "replace")
        self._file.close()
        self._let_go()

    def keep(self) -> None:
        """Duplicate the socket, because libpq closes it, and may replace it, at its next step."""
        self._let_go()
        self._end = os.dup(self._connection.socket)

    def look(self) -> None:
        """Ask the kernel whether the other side is still there, now that libpq has given up."""
        with socket.socket(fileno=os.dup(self._end)) as kept:
            try:
                self.hung_up = not kept.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                self.hung_up = False
            except OSError:
                self.hung_up = True

    def _let_go(self) -> None:
        if self._end >= 0:
            os.close(self._end)
            self._end = -1


def _poll(connection: pq.abc.PGconn, deadline: float, recording: _Recording) -> bool:
    """Drive the attempt to its end; return False if the deadline comes first."""
    while True:
        recording.keep()
        status = connection.connect_poll()
        if status == pq.PollingStatus.FAILED:
            recording.look()
        if status in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
            return True
        reading = status == pq.PollingStatus.READING
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        end = connection.socket
        select.select([end] if reading else [], [] if reading else [end], [], remaining)


def _explain(
    recording: _Recording, params: Mapping[str, str], words: str, *, needs_password: bool
) -> Cause:
    messages = list(_MESSAGE.finditer(recording.text))
    names = [match["name"] for match in messages]
    errors = [match["body"] for match in messages if match["name"] == "ErrorResponse"]
    # sslmode=prefer may try once with TLS and once without: the last error decides.
    if errors and (said := _said(errors[-1])):
        proved = names[:-1][-1:] == ["SASLResponse"]
        return _server_said(said, params, after_proof=proved)
    if errors:  # a postmaster that cannot fork: its old protocol has no code
        return Cause(Kind.TRANSIENT, f"the server said{_quote(words, params)}", CHECK_SERVER)
    if needs_password:
        return Cause(
            Kind.REFUSED,
            "the server wants a password, and the connection string has none",
            "Put the password into {url}; PGPASSWORD counts for the service only.",
        )
    if names[-1:] == ["SSLResponse"]:
        return _tls(messages[-1]["body"], params, words)
    # Nothing came back, or no PostgreSQL error: only a connection of our own can tell which.
    nothing = all(match["way"] == "F" for match in messages)
    if nothing and (found := _reach(params) or _stranger(params)):
        return found
    return _unsaid(names, params, words, hung_up=recording.hung_up)


def _unsaid(names: list[str], params: Mapping[str, str], words: str, *, hung_up: bool) -> Cause:
    if "ReadyForQuery" in names:
        return Cause(Kind.TRANSIENT, "no server accepts writes yet", CHECK_SERVER)
    if names and names[-1].startswith("Authentication"):
        return Cause(
            Kind.REFUSED,
            "require_auth or channel_binding forbids the server's authentication method",
            _CHECK_AUTHENTICATION,
        )
    if hung_up or names in ([], ["SSLRequest"]):
        return Cause(Kind.TRANSIENT, _CLOSED, CHECK_SERVER)
    demands = [key for key in ("require_auth", "channel_binding") if key in params]
    return Cause(
        Kind.REFUSED,
        f"libpq gives up on this server{_quote(words, params)}",
        f"Correct {' and '.join(demands)} in {{url}}." if demands else CHECK_PARAMETERS,
    )


def _quote(words: str, params: Mapping[str, str]) -> str:
    """Quote libpq's last line after a colon, or nothing if it might contain a secret."""
    lines = [line for line in words.splitlines() if line.strip()]
    line = lines[-1] if lines else ""
    secrets = [value for key, value in params.items() if "password" in key and value]
    if not line or any(secret in words for secret in secrets):
        return ""
    return f": {clean(re.sub(r'^.*? port [0-9]+ [^:]*: ', '', line))}"


def _said(body: str) -> ErrorResponse | None:
    code, text, file = (re.search(_FIELD.format(key), body, re.DOTALL) for key in "CMF")
    if code is None:
        return None
    return ErrorResponse(code[1], clean(text[1] if text else "error"), file[1] if file else "")


def _server_said(said: ErrorResponse, params: Mapping[str, str], *, after_proof: bool) -> Cause:
    if said.code == "08P01" and not said.file and after_proof:  # PgBouncer < 1.20's for anything
        text = f"a pooler said: {said.text} ({said.code})"  # in answer to our proof of the password
        return Cause(Kind.REFUSED, text, CHECK_CREDENTIALS, said.code)
    return cause_of(said, verdict(said, options=bool(params.get("options"))))


def _tls(answer: str, params: Mapping[str, str], words: str) -> Cause:
    sslmode = params.get("sslmode", "prefer")
    if answer.strip() == "N":
        if sslmode in _MUST_HAVE_TLS:
            return Cause(
                Kind.REFUSED, f"the server has no TLS, and sslmode={sslmode} requires it", CHECK_TLS
            )
        return Cause(Kind.TRANSIENT, _CLOSED, CHECK_SERVER)
    root = params.get("sslrootcert", "")
    if root not in ("", "system") and "root certificate" in words:
        from . import authorities

        if why := authorities.mistake(root):
            text = f"libpq did not try TLS: the file of authorities, {root!r}, {why}"
            return Cause(Kind.REFUSED, text, _CHECK_ROOT)
    return Cause(
        Kind.REFUSED,
        f"the TLS handshake with the server failed (sslmode={sslmode}){_quote(words, params)}",
        CHECK_AUTHORITY if sslmode.startswith("verify") else CHECK_TLS,
    )


def _stranger(params: Mapping[str, str]) -> Cause | None:
    """Ask for TLS by hand: a PostgreSQL server answers S or N (or E if it is too old)."""
    import struct

    try:
        with _dial(params) as connection:
            connection.sendall(struct.pack("!ii", 8, 80877103))
            answer = connection.recv(1)
    except OSError:
        return None
    if answer in (b"S", b"N") and params.get("sslnegotiation") == "direct":
        return Cause(
            Kind.REFUSED,
            "the server does not support direct TLS (sslnegotiation=direct)",
            "Remove sslnegotiation from {url}: only PostgreSQL 17 and later support it.",
        )
    if answer in (b"", b"S", b"N", b"E"):
        return None
    return Cause(
        Kind.REFUSED,
        "the program that listens there does not speak PostgreSQL's protocol",
        "Correct the host and the port in {url}.",
    )
