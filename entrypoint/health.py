"""``entrypoint health``: one line that says how the start or the service is, and 0 only if well.

It runs every few seconds in every container, so it imports only the standard library, little of
it, and of ours only where the start left its ``state``. stdout is its own: platforms show it.
"""

import os
import socket
import sys
import threading
import time
from contextlib import suppress

from . import state

TIMEOUT_S = 3.0

_UNWELL, _USAGE = 1, 2

_HELP = """usage: entrypoint health [--url URL] [--timeout SECONDS]

Ends with 0 if the service answers 2xx at health.url, otherwise with 1, and prints one line that
says why; while the service is being started, how far that is."""

_HEAD_BYTES = 1 << 16
"""What is read of an answer until its header ends."""


class Unwell(Exception):  # noqa: N818  an answer, not an error
    """Why it is not well."""


def main(arguments: list[str]) -> int:
    """Print one line and return the exit code. Blocks no longer than the timeout."""
    try:
        url, timeout_s = _options(arguments)
        text, code = _within(timeout_s, url), 0
    except Unwell as reason:
        text, code = str(reason), _UNWELL
    except ValueError as problem:
        text, code = f"{problem}\n\n{_HELP}".lstrip(), _USAGE if str(problem) else 0
    with suppress(OSError):  # nobody reads; the code says it too
        os.write(1, f"{text}\n".encode("utf-8", "backslashreplace"))
    return code


def _options(arguments: list[str]) -> tuple[str | None, float]:
    url, timeout_s = None, TIMEOUT_S
    words = [part for word in arguments for part in _halves(word)]
    while words:
        name = words.pop(0)
        if name in ("-h", "--help"):
            raise ValueError
        if name not in ("--url", "--timeout") or not words:
            raise ValueError(f"unknown or without its value: {name}")
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


def _halves(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith("--") else [word]


def _within(timeout_s: float, url: str | None) -> str:
    """Look, in a thread: neither a resolver nor a byte a second keeps us longer."""
    answers: list[str] = []
    reasons: list[Unwell] = []
    asked: list[str] = []

    def look() -> None:
        try:
            answers.append(_look(url, timeout_s, asked))
        except Unwell as reason:
            reasons.append(reason)
        except Exception as bug:  # noqa: BLE001  a probe answers, whatever happens
            reasons.append(Unwell(f"unhealthy: the probe failed: {type(bug).__name__}: {bug}"))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if reasons:
        raise reasons[0]
    if not answers:
        where = asked[0] if asked else "the state of the start"
        raise Unwell(f"unhealthy: {where}: no answer within {timeout_s:g} s")
    return answers[0]


def _look(url: str | None, timeout_s: float, asked: list[str]) -> str:
    found = state.read()
    if found is None:
        raise Unwell(
            "not started: entrypoint has left no word in this container. Does the platform replace "
            "the image's ENTRYPOINT (Dokploy's Command, compose's entrypoint, Kubernetes' command)?"
        )
    now = time.monotonic()
    _must_be_over(found, now)
    since = f"{found['phase']} {_seconds(found, now)} ago"
    if not url and (problem := found.get("url_problem")):
        raise Unwell(f"unhealthy: {problem}")
    url = url or found.get("url")
    if not url:
        return f"running: {since}; health.url is not set, so nothing was asked"
    shown = url.partition("#")[0].partition("?")[0]
    asked.append(shown)
    try:
        return f"healthy: {shown}: {ask(url, timeout_s)}"
    except Unwell as reason:
        raise Unwell(f"unhealthy: {shown}: {reason} ({since})") from None


def _must_be_over(found: dict[str, str], now: float) -> None:
    """Raise `Unwell` unless the start has done its work, and what it became is still there."""
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
    raise Unwell(f"failed: the start ended in {phase} without a word; was it killed?")


def _seconds(found: dict[str, str], now: float, key: str = "since") -> str:
    return f"{max(0, int(now - state.number(found, key)))} s"


def _detail(found: dict[str, str], now: float) -> str:
    detail = found.get("detail")
    if not detail:
        return ""
    since = f" since {_seconds(found, now, 'detail_since')}" if found.get("detail_since") else ""
    return f" ({detail}{since})"


def ask(url: str, timeout_s: float) -> str:
    """GET a URL and return its status if that is 2xx; redirects are not followed, no proxy asked.

    Raises `Unwell` with what came back.
    """
    scheme, _, rest = url.partition("#")[0].partition("://")
    end = min((at for at in map(rest.find, "/?") if at >= 0), default=len(rest))
    authority, path = rest[:end].rpartition("@")[2], rest[end:]
    path = path if path.startswith("/") else f"/{path}"
    host, port = _host_and_port(authority, 443 if scheme == "https" else 80)
    if scheme not in ("http", "https") or not host:
        raise Unwell("is no http:// or https:// URL")
    request = f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: entrypoint-health\r\n"
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


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, ""
    try:
        return host.strip("[]"), int(port or default)
    except ValueError:
        return "", 0


def _connect(host: str, port: int, timeout_s: float) -> socket.socket:
    """Connect to any address of a name: localhost is ::1 first, and many listen on IPv4 only."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no name"
        raise Unwell(f"{host!r} does not resolve ({reason})") from None
    last: OSError = OSError("no address")
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(timeout_s)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    raise last


def _encrypted(connection: socket.socket, host: str) -> socket.socket:
    """TLS without verification, as Kubernetes' own HTTPS probes: it is the container itself."""
    import ssl

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname=host)


def _status(connection: socket.socket) -> str:
    """The first status that is not 1xx. Raises `Unwell` unless it is 2xx."""
    head, rest = _head(connection, b"")
    while head.startswith(b"1", 9) and not head.startswith(b"101", 9):
        head, rest = _head(connection, rest)
    line, *headers = head.decode("latin-1").split("\r\n")
    said = " ".join(filter(str.isprintable, line[9:80].split()))
    if line[9] == "2":
        return said
    leads = [header for header in headers if header.lower().startswith("location:")]
    if line[9] == "3" and leads:
        where = leads[0][9:109].strip().partition("?")[0]
        said += f" to {where if where.isprintable() else '...'}, which is not followed"
    raise Unwell(said)


def _head(connection: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    """An answer's status line and headers, and what came after them."""
    while b"\r\n\r\n" not in data and len(data) <= _HEAD_BYTES:
        more = connection.recv(4096)
        data += more
        if not b"HTTP/1.".startswith(data[:7]):
            raise Unwell("answered with something that is not HTTP/1.1")
        if not more:
            break
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head:
        raise Unwell("closed the connection without an answer")
    if not head[9:12].isdigit():
        raise Unwell("answered with something that is not HTTP/1.1")
    return head, rest


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
