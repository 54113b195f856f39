"""One HTTP request, or one TCP connection, in bounded time. The only user of httpx.

The import of httpx takes 0.1 s, so only functions that send a request import it.
getaddrinfo knows no timeout: while the name server is down, a call takes longer than its
``timeout_s``. Callers that cannot wait so long use a thread (`timelimit.run`).
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

MAX_BODY: Final = 1 << 20  # bytes of a body that are read; the rest is cut off
_MAX_QUOTE: Final = 200  # characters of a library's message that a cause quotes
_OTHER_NAME: Final = (62, 64)  # OpenSSL's codes for a trusted certificate of another host
_UNSENT: Final = "the URL is not valid for an HTTP request"


class Answer(NamedTuple):
    """A server's answer. Do not trust any of it."""

    status: int
    reason: str
    location: str  # the target of a redirect, else empty
    body: bytes


class RequestError(Exception):
    """The server gave no answer.

    ``text`` is the cause, readable and without the URL's query, user and password. ``permanent``
    means that waiting does not help: the URL is unusable, or a trusted issuer's certificate names
    another host. (A certificate that is expired or of an unknown issuer may be the one that a
    reverse proxy shows until it has its own.) ``absent`` means that no server listens, or that this
    container cannot reach it: the name does not resolve, connections are refused or time out.
    """

    def __init__(self, text: str, *, permanent: bool = False, absent: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.permanent = permanent
        self.absent = absent


def ask(url: str, timeout_s: float) -> Answer:
    """GET a URL (http, https, http+unix) and return the answer, whatever its status.

    ``timeout_s`` covers everything up to the end of the body or its first MiB. Blocks until then.
    Follows no redirects and uses no proxy. Trusts the CAs of certifi, of the system, of
    SSL_CERT_FILE and of SSL_CERT_DIR. Raises `RequestError`.
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
    """POST ``data`` as JSON and return the status; leaves the body unread. Bounded as `ask` is."""
    with _exchange("POST", url, timeout_s, json.dumps(data).encode()) as response:
        return response.status_code


def reach(host: str, port: int, timeout_s: float) -> None:
    """Connect to any address of a host and close the connection. Raises `RequestError`."""
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
    import httpx

    limit = _Limit(time.monotonic() + timeout_s)
    headers = {"User-Agent": f"entrypoint/{__version__}", "Accept-Encoding": "identity"}
    headers["Connection"] = "close"
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
                method, target, content=content, headers=headers, extensions={"trace": limit.watch}
            ) as response,
        ):
            yield response
        limit.left_s()  # raises if the limit cut the answer, which looks complete without a length
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise _failed(TimeoutError() if limit.passed() else error, timeout_s) from None
    finally:
        limit.close()


def _target(url: str) -> tuple["httpx.URL", str | None]:
    """Return the URL to request, and the path of the Unix socket, if any, to request it from."""
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
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # unused: an empty context costs nothing
    context = httpx.create_ssl_context(trust_env=False)  # certifi: slim images have no CAs
    context.load_default_certs()  # the system's, SSL_CERT_FILE's and SSL_CERT_DIR's
    return context


class _Limit:
    """Ends an exchange at an instant of the monotonic clock; httpx only limits each read."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._connection: timelimit.Limit | None = None

    def left_s(self) -> float:
        """Seconds left. Raises TimeoutError when none are."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def passed(self) -> bool:
        return time.monotonic() >= self._deadline

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Limit the connection once it stands; httpx calls this at each stage (``trace``)."""
        if event in ("connection.connect_tcp.complete", "connection.connect_unix_socket.complete"):
            connection = info["return_value"].get_extra_info("socket")
            left_s = self._deadline - time.monotonic()
            self._connection = timelimit.Limit(connection.fileno(), left_s)

    def close(self) -> None:
        if self._connection:
            self._connection.close()


def _addresses(host: str, port: int) -> int:
    """Count a host's addresses: each is tried for its share of the time. Raises `RequestError`."""
    try:
        return len(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except socket.gaierror as error:
        text = f"the host name {host!r} does not resolve ({error.strerror})"
        raise RequestError(text, absent=True) from None
    except UnicodeError:
        raise RequestError(f"{host!r} is not a valid host name", permanent=True) from None


def _failed(error: Exception, timeout_s: float) -> RequestError:
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
        cause = cause.__cause__ or cause.__context__  # httpcore wraps the system's error
    return RequestError(f"no valid HTTP answer ({error})"[:_MAX_QUOTE])


def _unreached(error: OSError, timeout_s: float) -> RequestError:
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
