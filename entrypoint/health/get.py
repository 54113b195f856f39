"""One GET for ``entrypoint health``: asks the service in the probe's own container.

Every probe imports this module, so it imports little of the standard library and nothing of ours:
the import of httpx takes longer than a whole probe, and `http_client` would refuse a certificate
that does not name localhost.
"""

import socket
import time

_HEAD_BYTES = 1 << 16  # the longest header that is read, in bytes
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Unwell(Exception):  # noqa: N818  an answer, not an error
    """Why the service is not well."""


def shown(url: str) -> str:
    """A URL without user, password, query and fragment, which may be private."""
    head, slashes, rest = url.partition("#")[0].partition("?")[0].partition("//")
    if slashes and (not head or head.endswith(":")):
        authority, slash, path = rest.partition("/")
        rest = f"{authority.rpartition('@')[2]}{slash}{path}"
    return f"{head}{slashes}{rest}"


def ask(url: str, timeout_s: float) -> str:
    """GET a URL and return its status if that is 2xx. Raises `Unwell` with the reason if not.

    Sends the URL's user and password as Basic authentication. Follows no redirects, uses no proxy.
    """
    scheme, _, rest = url.partition("#")[0].partition("://")
    scheme = scheme.lower()
    end = min((at for at in map(rest.find, "/?") if at >= 0), default=len(rest))
    user, at, authority = rest[:end].rpartition("@")
    path = rest[end:]
    path = path if path.startswith("/") else f"/{path}"
    host, port = _host_and_port(authority, 443 if scheme == "https" else 80)
    if scheme not in ("http", "https") or not host:
        raise Unwell("not an http:// or https:// URL")
    request = f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: entrypoint-health\r\n"
    if at:
        request += f"Authorization: Basic {_basic(user)}\r\n"
    request += "Accept: */*\r\nConnection: close\r\n\r\n"
    try:
        with _connect(host, port, timeout_s) as connection:
            channel = _encrypted(connection, host) if scheme == "https" else connection
            channel.sendall(request.encode("utf-8", "surrogateescape"))
            return _status(channel)
    except TimeoutError:
        raise Unwell(f"no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise Unwell((error.strerror or type(error).__name__).lower()) from None


def _basic(user: str) -> str:
    import binascii

    name, _, password = user.partition(":")
    data = b":".join(map(_unquoted, (name, password)))
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _unquoted(text: str) -> bytes:
    first, *rest = text.encode("utf-8", "surrogateescape").split(b"%")
    for each in rest:
        code = each[:2]
        known = len(code) == 2 and set(code) <= _HEX  # noqa: PLR2004
        first += bytes.fromhex(code.decode("ascii")) + each[2:] if known else b"%" + each
    return first


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, ""
    try:
        return host.strip("[]"), int(port or default)
    except ValueError:
        return "", 0


def _connect(host: str, port: int, timeout_s: float) -> socket.socket:
    """Connect to any address of a name: localhost is ::1 first, and many servers have IPv4 only.

    Each address has its share of the time, because the first may not respond.
    """
    began = time.monotonic()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise Unwell(f"{host!r} does not resolve ({reason})") from None
    deadline = began + timeout_s
    last: OSError = OSError("no address")
    for tried, (family, kind, protocol, _, address) in enumerate(found):
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:  # for example a kernel without IPv6
            last = error
            continue
        try:
            connection.settimeout(_left_s(deadline) / (len(found) - tried))
            connection.connect(address)
            connection.settimeout(_left_s(deadline))
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    raise last


def _left_s(deadline: float) -> float:
    """Seconds until the deadline; at least 0.001, because a timeout of 0 means non-blocking."""
    return max(0.001, deadline - time.monotonic())


def _encrypted(connection: socket.socket, host: str) -> socket.socket:
    """Start TLS without verification, as Kubernetes' HTTPS probes do: the peer is local."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # create_default_context reads all CAs
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname=host)


def _status(connection: socket.socket) -> str:
    """Return the first status that is not 1xx. Raises `Unwell` unless it is 2xx."""
    head, rest = _head(connection, b"")
    while head.startswith(b"1", 9) and not head.startswith(b"101", 9):
        head, rest = _head(connection, rest)
    line, *headers = head.decode("latin-1").split("\r\n")
    said = " ".join(filter(str.isprintable, line[9:80].split()))
    if line[9] == "2":
        return said
    leads = [header for header in headers if header.lower().startswith("location:")]
    if line[9] == "3" and leads:
        where = shown(leads[0][9:].strip())[:100]
        said += f" to {where if where.isprintable() else '...'}; a probe follows no redirect"
    raise Unwell(said)


def _head(connection: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    while b"\r\n\r\n" not in data and len(data) <= _HEAD_BYTES:
        more = connection.recv(4096)
        data += more
        if not b"HTTP/1.".startswith(data[:7]):
            raise Unwell("the answer is not HTTP/1.1")
        if not more:
            break
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head:
        raise Unwell("the service closed the connection without an answer")
    if not head[9:12].isdigit():
        raise Unwell("the answer is not HTTP/1.1")
    return head, rest
