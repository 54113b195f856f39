"""A network that breaks at a chosen moment: a TCP proxy that hangs up when a message passes."""

from __future__ import annotations

import selectors
import socket
import threading
from dataclasses import dataclass, field
from typing import Self

COMMIT = b"q\0\0\0\x0bcommit\0"
"""A COMMIT by itself, in small letters."""

CHANGES = (b"SET SCHEMA", b"DROP SCHEMA")
"""What a session that moves, puts back or removes has sent before that; others only read."""


@dataclass
class _Link:
    client: socket.socket
    server: socket.socket
    changes: bool = False
    cut: bool = False
    """Whether the server's next answer is the last thing that passes, and does not arrive."""


@dataclass
class Cut:
    """A context manager that forwards between a loopback port and a server, until `COMMIT` passes.

    That connection breaks, once, before the message reaches the server or after the server has
    answered; with `deaf`, nobody gets through after that.
    """

    host: str
    target_port: int
    after: bool
    deaf: bool = False
    done: bool = False
    port: int = 0
    _links: list[_Link] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._stop, self._stopped = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        self._thread.join()
        for link in self._links:
            self._close(link)
        for end in (self._listener, self._stopped):
            end.close()
        self._selector.close()

    def _forward(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._links:  # or it was closed a moment ago
                    self._pass_on(key.data, from_client=key.fileobj is key.data.client)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self.done and self.deaf:
            client.close()
            return
        link = _Link(client, socket.create_connection((self.host, self.target_port)))
        self._links.append(link)
        for end in (link.client, link.server):
            self._selector.register(end, selectors.EVENT_READ, link)

    def _pass_on(self, link: _Link, *, from_client: bool) -> None:
        ends = (link.client, link.server)
        source, target = ends if from_client else ends[::-1]
        try:
            data = source.recv(1 << 16)
            if link.cut:
                data = b""
            elif from_client and data.lower() == COMMIT and link.changes and not self.done:
                self.done = True
                link.cut = self.after
                data = data if self.after else b""
            link.changes |= from_client and any(each in data for each in CHANGES)
            target.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._close(link)

    def _close(self, link: _Link) -> None:
        if link in self._links:
            self._links.remove(link)
            for end in (link.client, link.server):
                self._selector.unregister(end)
                end.close()
