"""A TCP proxy that counts a client's connections, and its round trips once it is in."""

from __future__ import annotations

import selectors
import socket
import threading
from dataclasses import dataclass
from typing import Self

READY = b"Z\0\0\0\5I"
"""The server's message that the session is there and idle."""

TERMINATE = b"X\0\0\0\4"
"""The client's last message, which nobody answers."""


@dataclass
class _Link:
    """One connection through the proxy."""

    client: socket.socket
    server: socket.socket
    ready: bool = False
    tail: bytes = b""
    asking: bool = False


class Proxy:
    """A context manager that forwards between a loopback port and a server."""

    def __init__(self, host: str, port: int) -> None:
        self.connections = 0
        self.round_trips = 0
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stop, self._stopped = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._forward, daemon=True)

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _forward(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key.data, from_client=key.fileobj is key.data.client)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        link = _Link(client, socket.create_connection(self._target))
        self.connections += 1
        for end in (link.client, link.server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(end, selectors.EVENT_READ, link)

    def _pass_on(self, link: _Link, *, from_client: bool) -> None:
        ends = (link.client, link.server)
        source, target = ends if from_client else ends[::-1]
        try:
            data = source.recv(1 << 16)
            target.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in ends:
                self._selector.unregister(end)
                end.close()
        elif not from_client:
            link.asking = False
            link.tail = (link.tail + data)[-len(READY) :]
            link.ready = link.ready or link.tail == READY
        elif link.ready and not link.asking and data != TERMINATE:
            # The first bytes after an answer: what follows until the next one is the same trip.
            link.asking = True
            self.round_trips += 1
