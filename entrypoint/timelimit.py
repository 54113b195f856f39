"""Deadlines for calls that know none: the system's resolver, and reads from a socket."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread, Timer
from typing import TypeVar

T = TypeVar("T")


def run(call: Callable[[], T], timeout_s: float) -> T:
    """Return or raise what ``call`` does, in a thread, so that a signal need not wait for it.

    Raises TimeoutError after ``timeout_s`` seconds; the thread then runs on until the process ends.
    """
    answers: list[T] = []
    errors: list[Exception] = []

    def answer() -> None:
        try:
            answers.append(call())
        except Exception as error:  # noqa: BLE001  raised in the caller's thread
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
    """Shut down a socket's connection under any thread that waits on it; keep ``fileno`` open."""
    with suppress(OSError), socket.socket(fileno=os.dup(fileno)) as copy:
        copy.shutdown(socket.SHUT_RDWR)


class Limit:
    """Shuts a connection down after ``timeout_s`` seconds, unless `close` comes first.

    A library that waits on the socket then sees that the peer has gone. Keeps a copy of ``fileno``,
    because TLS and libraries that give up take or close the original.
    """

    def __init__(self, fileno: int, timeout_s: float) -> None:
        self.passed = False  # whether the limit shut the connection down

        self._socket = socket.socket(fileno=os.dup(fileno))
        self._timer = Timer(max(0.0, timeout_s), self._shut)
        self._timer.daemon = True
        self._timer.start()

    def _shut(self) -> None:
        self.passed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cancel the limit and leave the connection as it is."""
        self._timer.cancel()
        self._timer.join()
        self._socket.close()
