"""A real HTTP server that does what a test says: late, wrong, slow, or not at all.

The certificates in `tls/` were made once with openssl, for a hundred years: `localhost.pem` and
`elsewhere.pem` (for elsewhere.invalid) by the issuer `ca.pem`, whose key is gone; `client.pem`, of
a role of PostgreSQL, is its own issuer.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TLS = Path(__file__).parent / "tls"

CA = TLS / "ca.pem"

Answer = bytes | list[bytes]
"""All at once, or a second between the pieces; an empty one hangs up."""


def http(status: str = "200 OK", body: bytes = b"", **headers: str) -> bytes:
    """An answer; `_` in a header's name is a hyphen."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


HANG = None
"""In place of an answer: nothing ever comes, and the connection stays."""


class Site:
    """Listens until `close`; `answer` may be changed at any time, `requests` grows."""

    def __init__(
        self,
        answer: Answer | Callable[[bytes], Answer] | None = b"",
        *,
        address: str | Path = "127.0.0.1",
        port: int = 0,
        certificate: str | None = None,
    ) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self._closed = threading.Event()
        self._tls: ssl.SSLContext | None = None
        if certificate:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(TLS / f"{certificate}.pem")
        if isinstance(address, Path):
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(address))
            self._listener.listen()
        else:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self._listener = socket.create_server((address, port), family=family)
            self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path: str = "/", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Where it is, by that name."""
        return f"{scheme}://{host}:{self.port}{path}"

    def close(self) -> None:
        """Listen no more, and hang up on those who still wait. Idempotent."""
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), closing(connection):  # the client may have had enough
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with closing(connection):
                request = _head(connection)
                self.requests.append(request)
                answer = self.answer(request) if callable(self.answer) else self.answer
                if answer is HANG:
                    self._closed.wait()
                    return
                for number, piece in enumerate(_pieces(answer)):
                    if number and self._closed.wait(1):
                        return
                    connection.sendall(piece)


def _head(connection: socket.socket) -> bytes:
    """A request with its body; or what came until the client hung up, or spoke TLS."""
    request = b""
    while b"\r\n\r\n" not in request:
        data = connection.recv(65536)
        request += data
        if not data or request.startswith(b"\x16"):
            return request
    head, _, body = request.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            while len(body) < int(line.split(b":")[1]):
                body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def _pieces(answer: Answer | None) -> Iterator[bytes]:
    yield from answer if isinstance(answer, list) else [answer or b""]


def dripping(answer: bytes) -> list[bytes]:
    """An answer of one byte a second."""
    return [answer[at : at + 1] for at in range(len(answer))]
