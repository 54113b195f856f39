"""Deadlines for what heeds none: the system's resolver, and who waits at a socket."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread, Timer
from typing import TypeVar

T = TypeVar("T")


def run(call: Callable[[], T], timeout_s: float) -> T:
    """What ``call`` returns or raises, in a thread of its own that a signal does not wait for.

    Raises TimeoutError when it takes longer; it is left behind then, and ends with the process.
    """
    answers: list[T] = []
    errors: list[Exception] = []

    def answer() -> None:
        try:
            answers.append(call())
        except Exception as error:  # noqa: BLE001  it is raised where it was asked for
            errors.append(error)

    thread = Thread(target=answer, daemon=True)
    thread.start()
    thread.join(timeout_s)
    for error in errors:
        raise error
    for found in answers:
        return found
    raise TimeoutError


def hang_up(fileno: int) -> None:
    """Shut a socket down under whoever waits for it, in whichever thread; it stays open."""
    with suppress(OSError), socket.socket(fileno=os.dup(fileno)) as copy:
        copy.shutdown(socket.SHUT_RDWR)


class Limit:
    """Shuts a socket down after ``timeout_s`` seconds, unless `close` came first.

    Who waits there is told that the other side has gone, by whatever library. ``fileno`` is the
    socket's descriptor, of which a copy is made: TLS, and a library that gives up, take it away.
    """

    def __init__(self, fileno: int, timeout_s: float) -> None:
        self.passed = False
        """Whether it was shut down."""

        self._socket = socket.socket(fileno=os.dup(fileno))
        self._timer = Timer(max(0.0, timeout_s), self._shut)
        self._timer.daemon = True
        self._timer.start()

    def _shut(self) -> None:
        self.passed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket, as it is."""
        self._timer.cancel()
        self._timer.join()
        self._socket.close()
