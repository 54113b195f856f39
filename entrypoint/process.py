"""Children: started in a group of their own, read line by line, ended with all they started.

The only user of subprocess.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from . import signals, sockets
from .lines import Lines

GRACE_S: Final = 10.0
"""Seconds between SIGTERM and SIGKILL: what `docker stop` grants too."""

DRAIN_S: Final = 0.5
"""Seconds in which the pipes of a child that exited may still be emptied by those it started."""

TICK_S: Final = 0.1
"""Seconds until a child that closed its pipes is looked at again."""

TAIL_LINES: Final = 50


class Watch(Protocol):
    """Something whose loss ends the child, such as a lock."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when `check` should be asked."""

    def check(self) -> None:
        """Raise if it is lost."""


@dataclass(frozen=True)
class Finished:
    """How a child ended; ``returncode`` is negative for a signal, as subprocess has it."""

    returncode: int
    elapsed_s: float
    timed_out: bool
    tail: tuple[str, ...]
    """The last 50 lines, masked."""


def run(  # noqa: PLR0913  a child has this many sides
    argv: Sequence[str],
    *,
    environ: Mapping[bytes, bytes],
    timeout_s: float,
    on_line: Callable[[str, str], None],
    watch: Watch,
    after: Callable[[set[int]], None],
    grace_s: float = GRACE_S,
) -> Finished:
    """Run a program to its end.

    Its stdin is /dev/null; each line it writes goes to ``on_line(stream, line)`` with secrets
    masked. SIGTERM to us, the timeout (seconds) and a lost ``watch`` end its whole process group;
    SIGTERM first and SIGKILL after ``grace_s`` seconds or at our second signal, but SIGKILL at once
    when the watch is lost, because somebody else may be at work by then. When the group is dead,
    ``after`` is called, whatever happened, with the local ports of the connections that it had when
    we ended it. Raises what ``watch.check`` raises, `Terminated`, and
    OSError when the program cannot be started.
    """
    ports: set[int] = set()
    with signals.deferred() as signalled:
        try:
            child = _Child(argv, environ, on_line, watch, signalled)
            ports = child.ports
            return child.run(timeout_s, grace_s)
        finally:
            after(ports)


class _Child:
    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[bytes, bytes],
        on_line: Callable[[str, str], None],
        watch: Watch,
        signalled: signals.Deferred,
    ) -> None:
        self.started = time.monotonic()
        self.watch = watch
        self.signalled = signalled
        self.on_line = on_line
        self.tail: list[str] = []
        self.kill_at: float | None = None
        self.timed_out = False
        self.ports: set[int] = set()
        self.pidfd: int | None = None
        self.process = subprocess.Popen(  # noqa: S603  the image's own command
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )

    def run(self, timeout_s: float, grace_s: float) -> Finished:
        try:
            with selectors.DefaultSelector() as selector:
                self._register(selector)
                while not self._exited():
                    self._turn(selector, self._next_wakeup(timeout_s))
                    self._decide(timeout_s, grace_s)
                self._drain(selector)
        finally:
            self._end()
        elapsed_s = time.monotonic() - self.started
        return Finished(self.process.returncode, elapsed_s, self.timed_out, tuple(self.tail))

    def _register(self, selector: selectors.BaseSelector) -> None:
        for name in ("stdout", "stderr"):
            pipe = getattr(self.process, name)
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, Lines(name, self._told))
        selector.register(self.watch, selectors.EVENT_READ, self.watch)
        selector.register(self.signalled, selectors.EVENT_READ, self.signalled)
        if hasattr(os, "pidfd_open"):
            # A kernel without it (or a seccomp profile against it) leaves the tick.
            with suppress(OSError):
                self.pidfd = os.pidfd_open(self.process.pid)
                selector.register(self.pidfd, selectors.EVENT_READ)

    def _told(self, stream: str, line: str) -> None:
        self.tail = [*self.tail[1 - TAIL_LINES :], line]
        self.on_line(stream, line)

    def _next_wakeup(self, timeout_s: float) -> float:
        """Seconds until something must be decided."""
        if self.pidfd is None:
            return TICK_S
        until = self.kill_at if self.kill_at is not None else self.started + timeout_s
        return max(0.0, min(until - time.monotonic(), 60.0))

    def _turn(self, selector: selectors.BaseSelector, wait_s: float) -> None:
        for key, _ in selector.select(wait_s):
            if isinstance(key.data, Lines):
                self._read(selector, key)
            elif key.data is self.watch:
                self.watch.check()
            elif key.data is self.signalled:
                self.signalled.drain()

    def _read(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        try:
            data = os.read(key.fd, 1 << 16)
        except BlockingIOError:
            return
        if data:
            key.data.feed(data)
        else:
            key.data.close()
            selector.unregister(key.fileobj)

    def _decide(self, timeout_s: float, grace_s: float) -> None:
        """Begin or finish ending the child when a signal came or its time is up."""
        now = time.monotonic()
        if self.kill_at is not None:
            if now >= self.kill_at or self.signalled.count > 1:
                self._signal_group(signal.SIGKILL)
        elif self.signalled.signum is not None or now - self.started >= timeout_s:
            self.timed_out = self.signalled.signum is None
            self.kill_at = now + grace_s
            self._signal_group(signal.SIGTERM)

    def _exited(self) -> bool:
        """Whether the child ended. It is not reaped yet: its group's number stays its own."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, flags) is not None

    def _drain(self, selector: selectors.BaseSelector) -> None:
        """Read what is left; those that the child left behind may hold its pipes open."""
        for key in list(selector.get_map().values()):
            if not isinstance(key.data, Lines):
                selector.unregister(key.fileobj)
        deadline = time.monotonic() + DRAIN_S
        while selector.get_map() and (remaining := deadline - time.monotonic()) > 0:
            self._turn(selector, remaining)
        for key in selector.get_map().values():
            key.data.close()

    def _signal_group(self, signum: int) -> None:
        self.ports |= sockets.local_ports(self.process.pid)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signum)

    def _end(self) -> None:
        """Leave nothing of the group; the last thing, whatever happened."""
        self._signal_group(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        if self.pidfd is not None:
            os.close(self.pidfd)


def reap() -> None:
    """Collect orphans that became ours (PID 1), so that the service inherits no zombie."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
