"""A server that answers as it is told to, byte for byte: what no well-meaning one would send."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def status(line: str, *headers: str) -> bytes:
    """An answer without a body."""
    head = "\r\n".join([f"HTTP/1.1 {line}", *headers, "Content-Length: 0"])
    return f"{head}\r\n\r\n".encode()


@dataclass
class Answers:
    """A listening server; `requests` are the heads that came, in order."""

    port: int
    answer: bytes
    byte_s: float
    """Seconds between two bytes of the answer; 0 sends it at once."""

    requests: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/v1/health", host: str = "127.0.0.1") -> str:
        """Where it listens."""
        return f"http://{host}:{self.port}{path}"

    def serve(self, connection: socket.socket) -> None:
        """Answer one client."""
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (more := connection.recv(4096)):
                head += more
            self.requests.append(head.decode("latin-1"))
            if not self.byte_s:
                connection.sendall(self.answer)
            for at in range(len(self.answer) if self.byte_s else 0):
                connection.sendall(self.answer[at : at + 1])
                if self.stopped.wait(self.byte_s):
                    return
            if not self.answer:  # accepts, and never says a word
                self.stopped.wait()


@contextmanager
def answering(answer: bytes, *, byte_s: float = 0, host: str = "127.0.0.1") -> Iterator[Answers]:
    """Serve the same answer to everybody until the end of the body."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        server = Answers(listener.getsockname()[1], answer, byte_s)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    thread = threading.Thread(target=server.serve, args=(connection,), daemon=True)
                    thread.start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
