"""Other servers, asked or told once and in bounded time. The only user of httpx.

httpx is imported where it is used: a start that asks nobody over HTTP does not pay its 0.1 s.
A name server that is gone takes longer than any timeout given here: the system's resolver knows
none, so who cannot wait asks in a thread of his own.
"""

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from . import __version__, timelimit

if TYPE_CHECKING:
    import ssl

    import httpx

MAX_BODY: Final = 1 << 20
"""Bytes of an answer that are read; what follows is cut off."""

_MAX_QUOTE: Final = 200
"""Characters of somebody else's words in a cause."""

_OTHER_NAME: Final = (62, 64)
"""OpenSSL's codes for a certificate of a trusted issuer for another name, another address."""


_UNSENT: Final = "no request can be sent to such a URL"


class Answer(NamedTuple):
    """What a server answered; nothing of it is to be trusted."""

    status: int
    reason: str
    location: str
    """Where a redirect leads, else empty."""

    body: bytes


class RequestError(Exception):
    """There is no answer.

    ``text`` says why, for people, without the URL's query, user or password. ``permanent`` is for
    what no waiting heals: a URL that no request can be sent to, and a certificate of a trusted
    issuer for another name. One of an unknown issuer, or past its time, may be what a reverse
    proxy shows until it has its own. ``absent`` is for a server that does not listen, or not to
    us: its name does not resolve, connections are refused, or nothing comes back in time.
    """

    def __init__(self, text: str, *, permanent: bool = False, absent: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.permanent = permanent
        self.absent = absent


def ask(url: str, timeout_s: float) -> Answer:
    """GET a URL (http, https, http+unix) and return the answer, whatever its status.

    ``timeout_s`` is for all of it, to the body's end or its first MiB. Redirects are not followed
    and no proxy is asked. TLS is verified against the CAs of certifi, of the system, and of
    SSL_CERT_FILE and SSL_CERT_DIR. Blocks until then; raises `RequestError`.
    """
    with _exchange("GET", url, timeout_s) as response:
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) >= MAX_BODY:
                break
        location = response.headers.get("location", "")
        reason, body = response.reason_phrase, body[:MAX_BODY]
        return Answer(response.status_code, reason, location, bytes(body))


def tell(url: str, data: Mapping[str, object], timeout_s: float) -> int:
    """POST ``data`` as JSON and return the status; the rest of the answer is not read.

    The same bounds as for `ask`; raises `RequestError`.
    """
    with _exchange("POST", url, timeout_s, json.dumps(data).encode()) as response:
        return response.status_code


def reach(host: str, port: int, timeout_s: float) -> None:
    """Connect to any of a host's addresses, and hang up. Raises `RequestError`."""
    deadline = time.monotonic() + timeout_s
    count = _addresses(host, port)
    share_s = (deadline - time.monotonic()) / count
    try:
        socket.create_connection((host, port), max(share_s, 0.001)).close()
    except OSError as error:
        raise _unreached(error, timeout_s) from None


@contextmanager
def _exchange(
    method: str, url: str, timeout_s: float, content: bytes | None = None
) -> Iterator["httpx.Response"]:
    """Send a request; the response's body is yet to be read when this yields."""
    import httpx

    limit = _Limit(time.monotonic() + timeout_s)
    headers = {
        "User-Agent": f"entrypoint/{__version__}",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if content is not None:
        headers["Content-Type"] = "application/json"
    try:
        target, path = _target(url)
        count = 1 if path else _addresses(target.raw_host.decode(), target.port or 0)
        transport = httpx.HTTPTransport(verify=_tls(target.scheme), trust_env=False, uds=path)
        timeout = httpx.Timeout(limit.left_s(), connect=limit.left_s() / count)
        with (
            httpx.Client(transport=transport, trust_env=False, timeout=timeout) as client,
            client.stream(
                method,
                target,
                content=content,
                headers=headers,
                extensions={"trace": limit.watch},
            ) as response,
        ):
            yield response
        limit.check()
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise _failed(TimeoutError() if limit.passed() else error, timeout_s) from None
    finally:
        limit.close()


def _target(url: str) -> tuple["httpx.URL", str | None]:
    """The URL to ask for, and the socket to ask at."""
    import httpx

    parts = urlsplit(url)
    if parts.scheme != "http+unix":
        target = httpx.URL(url)
        if target.scheme not in ("http", "https") or not target.host:
            raise RequestError(_UNSENT, permanent=True)
        return target, None
    query = f"?{parts.query}" if parts.query else ""
    return httpx.URL(f"http://localhost{parts.path}{query}"), unquote(parts.netloc)


def _tls(scheme: str) -> "ssl.SSLContext":
    import ssl

    import httpx

    if scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # unused; knows no CA, costs nothing
    context = httpx.create_ssl_context(trust_env=False)  # certifi's: slim images have no others
    context.load_default_certs()  # and heeds SSL_CERT_FILE and SSL_CERT_DIR
    return context


class _Limit:
    """Ends a connection at an instant of the monotonic clock.

    httpx bounds each read, so a server that sends a byte a second would keep it for ever.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._connection: timelimit.Limit | None = None

    def left_s(self) -> float:
        """Seconds that are left; raises TimeoutError when none are."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def passed(self) -> bool:
        return time.monotonic() >= self._deadline

    def check(self) -> None:
        """An answer that ends with its connection looks whole when we ended it."""
        self.left_s()

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpx calls at each stage of a request (its ``trace`` extension)."""
        if event in ("connection.connect_tcp.complete", "connection.connect_unix_socket.complete"):
            connection = info["return_value"].get_extra_info("socket")
            left_s = self._deadline - time.monotonic()
            self._connection = timelimit.Limit(connection.fileno(), left_s)

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection:
            self._connection.close()


def _addresses(host: str, port: int) -> int:
    """How many addresses a host has: they are tried in turn, each for its share of the time."""
    try:
        return len(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except socket.gaierror as error:
        text = f"the host name {host!r} does not resolve ({error.strerror})"
        raise RequestError(text, absent=True) from None
    except UnicodeError:
        raise RequestError(f"{host!r} is no host name", permanent=True) from None


def _failed(error: Exception, timeout_s: float) -> RequestError:
    """What an exception of httpx means, without the words of a URL."""
    import httpx

    unsent = httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError
    if isinstance(error, unsent):
        return RequestError(_UNSENT, permanent=True)
    if isinstance(error, httpx.TimeoutException):
        return _unreached(TimeoutError(), timeout_s)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return _unreached(cause, timeout_s)
        cause = cause.__cause__ or cause.__context__  # httpcore hides the system's error
    return RequestError(f"no valid HTTP answer ({error})"[:_MAX_QUOTE])


def _unreached(error: OSError, timeout_s: float) -> RequestError:
    """What an exception of the system or of TLS means."""
    if isinstance(error, TimeoutError):
        return RequestError(f"no answer within {timeout_s:.2g} s", absent=True)
    code = getattr(error, "verify_code", None)
    if code is not None:
        text = f"TLS: certificate not trusted: {getattr(error, 'verify_message', '')}"
        return RequestError(text.rstrip("."), permanent=code in _OTHER_NAME)
    reason = getattr(error, "reason", None)  # an ssl.SSLError's, such as WRONG_VERSION_NUMBER
    if reason:
        return RequestError(f"TLS: {reason.lower().replace('_', ' ')}")
    absent = isinstance(error, ConnectionRefusedError | FileNotFoundError)
    return RequestError((error.strerror or str(error)).lower(), absent=absent)
