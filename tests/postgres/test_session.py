"""What a session leaves on the server when it is not to be."""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from entrypoint.config.conninfo import Conninfo
from entrypoint.postgres.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator


class InterruptedLoginError(BaseException):
    """What a signal raises, as `Terminated` is: no Exception."""


@contextmanager
def interrupted(listener: socket.socket) -> Iterator[None]:
    """A signal comes once somebody has connected, and waits for the listener's answer."""

    def come(_signum: int, _frame: object) -> None:
        raise InterruptedLoginError

    def interrupt() -> None:
        if select.select([listener], [], [], 20)[0]:
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, come)
    thread = Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_an_interrupted_login_is_hung_up() -> None:
    """At once, though the exception lives on: a server drops no database while somebody logs in."""
    with socket.create_server(("127.0.0.1", 0)) as listener, interrupted(listener):
        listener.settimeout(20)
        host, port = listener.getsockname()
        params = {"host": host, "port": str(port), "user": "u", "dbname": "d", "sslmode": "disable"}
        try:
            open_session(Conninfo(params, "DATABASE_URL"), 20.0, application_name="test/session")
        except InterruptedLoginError:
            client, _ = listener.accept()
            with client:
                client.settimeout(5)
                while client.recv(4096):  # its greeting, and then nothing more
                    pass
        else:
            pytest.fail("nobody interrupted it")
