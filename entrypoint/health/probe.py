"""``entrypoint health``: prints one line about the start or the service; exits 0 only if well.

Platforms run it every few seconds in every container, so it imports little of the standard
library, and of ours only `state`. It writes to stdout, which platforms show. Its own GET spares the
import of httpx, which takes longer than a whole probe, and accepts a certificate for another name
than localhost. Below `socket` and `threading` lie the modules that they are made of; their own
enumerations and queues take as long to import as the rest of a probe.
"""

import _socket
import _thread
import os
import sys
import time

from . import state
from .state import suppress

TYPE_CHECKING = False  # of typing, whose import would take as long as a probe
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

TIMEOUT_S = 3.0
_UNWELL, _USAGE = 1, 2
_HEAD_BYTES = 1 << 16  # the longest header that is read, in bytes
_HEX = frozenset(b"0123456789abcdefABCDEF")

_HELP = """usage: entrypoint health [--url URL] [--timeout SECONDS]

Exits with 0 if the service answers 2xx at health.url, else with 1. Prints one line with the reason,
or with the progress of a start."""


def main(arguments: list[str]) -> int:
    """Print one line and return the exit code. Blocks no longer than the timeout."""
    try:
        url, timeout_s = _options(arguments)
        text, code = _within(timeout_s, url), 0
    except Unwell as reason:
        text, code = str(reason), _UNWELL
    except ValueError as problem:
        text, code = f"{problem}\n\n{_HELP}".lstrip(), _USAGE if str(problem) else 0
    # The text may quote a server, and stdout may be a terminal.
    text = "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
    with suppress(OSError):  # without a reader the exit code still answers
        os.write(1, f"{text}\n".encode("utf-8", "backslashreplace"))
    return code


def _options(arguments: list[str]) -> tuple[str | None, float]:
    url, timeout_s = None, TIMEOUT_S
    halves = (word.split("=", 1) if word.startswith("--") else [word] for word in arguments)
    words = [half for each in halves for half in each]
    while words:
        name = words.pop(0)
        if name in ("-h", "--help"):
            raise ValueError
        if name not in ("--url", "--timeout") or not words:
            raise ValueError(f"unknown option, or option without a value: {name}")
        value = words.pop(0)
        if name == "--url":
            url = value
            continue
        try:
            timeout_s = float(value)
        except ValueError:
            timeout_s = 0.0
        if not 0 < timeout_s <= 3600:  # noqa: PLR2004  a probe that takes an hour is a mistake
            raise ValueError(f"--timeout must be a number of seconds, not {value!r}")
    return url, timeout_s


def _within(timeout_s: float, url: str | None) -> str:
    """Probe in a thread, so that neither the resolver nor a slow server exceeds the timeout."""
    answers: list[str] = []
    reasons: list[Unwell] = []
    asked: list[str] = []

    def look() -> None:
        try:
            answers.append(_look(url, timeout_s, asked))
        except Unwell as reason:
            reasons.append(reason)
        except Exception as bug:  # noqa: BLE001  a probe always answers
            reasons.append(Unwell(f"unhealthy: the probe failed: {type(bug).__name__}: {bug}"))

    _limited(look, timeout_s)
    if reasons:
        raise reasons[0]
    if not answers:
        where = asked[0] if asked else "the state of the start"
        raise Unwell(f"unhealthy: {where}: no answer within {timeout_s:g} s")
    return answers[0]


def _limited(look: "Callable[[], None]", timeout_s: float) -> None:
    """Run ``look`` in a thread, and wait for it no longer than this."""
    ended = _thread.allocate_lock()

    def run() -> None:
        try:
            look()
        finally:
            ended.release()

    ended.acquire()
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # the limit of processes counts threads
        _interrupted(look, timeout_s)
    else:
        ended.acquire(timeout=timeout_s)


def _interrupted(look: "Callable[[], None]", timeout_s: float) -> None:
    """Probe under SIGALRM instead of a thread; a resolver only obeys its own timeout."""
    import signal

    def over(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    with suppress(TimeoutError):
        look()
        signal.setitimer(signal.ITIMER_REAL, 0)


def _look(url: str | None, timeout_s: float, asked: list[str]) -> str:
    try:
        found = state.read()
    except PermissionError as error:
        raise Unwell(
            f"unhealthy: only root and the user of the start may read {error.filename}, "
            "because health.url has a password or a query; run the probe as one of them"
        ) from None
    if found is None:
        raise Unwell(
            "not started: entrypoint has written no state in this container. Does the platform "
            "replace the image's ENTRYPOINT (Dokploy's Command, compose's entrypoint, Kubernetes' "
            "command)?"
        )
    now = time.monotonic()
    _must_be_over(found, now)
    since = f"{found['phase']} {_seconds(found, now)} ago"
    if not url and (problem := found.get("url_problem")):
        raise Unwell(f"unhealthy: {problem}")
    url = url or found.get("url")
    if not url:
        return f"running: {since}; health.url is not set, so the probe asked no service"
    where = shown(url)
    asked.append(where)
    try:
        return f"healthy: {where}: {ask(url, timeout_s)}"
    except Unwell as reason:
        raise Unwell(f"unhealthy: {where}: {reason} ({since})") from None


def _must_be_over(found: dict[str, str], now: float) -> None:
    """Raise `Unwell` unless the start has finished and the service, if any, still runs."""
    phase, alive = found.get("phase", ""), state.lives(found)
    if phase == state.FAILED:
        step, code = found.get("step"), found.get("code")
        raise Unwell(f"failed: {step} (exit code {code}): {found.get('detail')}")
    if phase == state.PREPARED or (phase == state.STARTED and alive):
        return
    if phase == state.STARTED:
        raise Unwell(f"unhealthy: the service (PID {found.get('pid')}) has ended")
    if alive:
        raise Unwell(f"starting: {phase} {_seconds(found, now)}{_detail(found, now)}")
    raise Unwell(f"failed: the start ended in {phase} and reported no error; did a signal kill it?")


def _seconds(found: dict[str, str], now: float, key: str = "since") -> str:
    return f"{max(0, int(now - state.number(found, key)))} s"


def _detail(found: dict[str, str], now: float) -> str:
    detail = found.get("detail")
    if not detail:
        return ""
    since = f" since {_seconds(found, now, 'detail_since')}" if found.get("detail_since") else ""
    return f" ({detail}{since})"


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
        channel = _connect(host, port, timeout_s)
        try:
            if scheme == "https":
                channel = _encrypted(channel, host)
            channel.sendall(request.encode("utf-8", "surrogateescape"))
            return _status(channel)
        finally:
            channel.close()
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


def _connect(host: str, port: int, timeout_s: float) -> _socket.socket:
    """Connect to any address of a name, each in its share of the time: the first may be silent."""
    began = time.monotonic()
    name = host.encode() if host.isascii() else host  # a str imports the codec of IDNA
    try:
        found = _socket.getaddrinfo(name, port, type=_socket.SOCK_STREAM)
    except (_socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise Unwell(f"{host!r} does not resolve ({reason})") from None
    deadline = began + timeout_s
    last: OSError = OSError("no address")
    for tried, (family, kind, protocol, _, address) in enumerate(found):
        try:
            connection = _socket.socket(family, kind, protocol)
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


def _encrypted(connection: _socket.socket, host: str) -> "socket.socket":
    """Start TLS without verification, as Kubernetes' HTTPS probes do: the peer is local."""
    import socket
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # create_default_context reads all CAs
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    timeout_s = connection.gettimeout()
    whole = socket.socket(fileno=connection.detach())
    whole.settimeout(timeout_s)
    return context.wrap_socket(whole, server_hostname=host)


def _status(connection: _socket.socket) -> str:
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


def _head(connection: _socket.socket, data: bytes) -> tuple[bytes, bytes]:
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


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
