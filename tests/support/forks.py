"""Starts of the program in forks of an interpreter that has imported it.

An import costs 0.25 s of CPU, all else of a start 0.1 s, and the tests start it by the thousand.
What exec decides, a fork cannot show: a start with other arguments for the interpreter, with a
locale, or through another program is executed, as is every one with `TEST_EXEC` set.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAM = Path(__file__).parent / "programs" / "forking.py"

BY_EXEC = ("LANG", "LC_", "LD_", "GLIBC_", "MALLOC_", "OPENSSL_", "PYTHON", "TZ")
"""Beginnings of the variables that an interpreter, or a library in it, reads when it begins."""

ROOM = 16_000
"""Bytes of the environment of what forks, in whose place a start's is written."""


def can(
    environ: Mapping[str, str] | Mapping[bytes, bytes], arguments: Sequence[str]
) -> TypeGuard[Mapping[str, str]]:
    """Whether a fork is what exec would make of these."""
    names = [name for name in environ if isinstance(name, str)]
    return (
        not os.environ.get("TEST_EXEC")
        and arguments[:1] != ("health",)  # whose imports are what it is about
        and len(names) == len(environ)
        and not any(name.startswith(BY_EXEC) for name in names)
        and sum(len(os.fsencode(part)) + 1 for item in environ.items() for part in item) < ROOM
    )


class Forked:
    """A start in a fork, with as much of `subprocess.Popen` as the tests use."""

    def __init__(
        self, arguments: Sequence[str], directory: Path, environ: Mapping[str, str]
    ) -> None:
        """Fork it. Blocks until it has a PID."""
        order = os.memfd_create("order")
        os.write(order, json.dumps([arguments, str(directory.resolve()), dict(environ)]).encode())
        os.lseek(order, 0, os.SEEK_SET)
        ends = [os.pipe() for _ in range(3)]
        given = [order, *(end for _, end in ends)]
        socket.send_fds(_interpreter(), [b"."], given)
        for fd in given:
            os.close(fd)
        self.stdout, self.stderr = (os.fdopen(end, "rb") for end, _ in ends[:2])
        self._status = ends[2][0]
        self._reading = threading.Lock()
        self.pid = int.from_bytes(os.read(self._status, 4), "little")
        assert self.pid, "the interpreter that forks has ended"
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code if it has ended, else None; minus the signal that ended it."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Block until it ended, at most `timeout` s; its exit code.

        Raises:
            subprocess.TimeoutExpired: It runs on.
        """
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("entrypoint", timeout or 0)
        return code

    def send_signal(self, signum: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        """Send it SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        with self._reading:
            if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
                status = int.from_bytes(os.read(self._status, 4), "little")
                self.returncode = os.waitstatus_to_exitcode(status)
                os.close(self._status)
        return self.returncode


@cache
def _interpreter() -> socket.socket:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-I", str(PROGRAM), str(its.fileno())],
        env={"ROOM": "." * ROOM},
        pass_fds=[its.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    its.close()
    atexit.register(process.wait, 10)
    atexit.register(ours.close)  # first: what was registered last is called first
    return ours
