"""Calls that heed neither a deadline nor a signal, such as the system's resolver."""

from collections.abc import Callable
from threading import Thread
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
