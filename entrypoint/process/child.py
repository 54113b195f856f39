"""Children: started in a group of their own, read line by line, ended with all they started.

Also when this process is killed: a watchdog, forked before the child, ends it then.

The only user of subprocess. A child runs somebody's dependencies as our user, so it finds nothing
of ours in /proc: neither the environment nor the memory nor the descriptors of this process.
"""

import ctypes
import errno
import gc
import math
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NoReturn, Protocol

from .. import log
from ..config.keys import OUR_SECRETS
from . import cgroups, procfs, signals
from .output import Lines, shown

GRACE_S: Final = 10.0
"""Seconds between SIGTERM and SIGKILL: what `docker stop` grants too."""

DRAIN_S: Final = 0.5
"""Seconds in which the pipes of a child that exited may still be emptied by those it started."""

TICK_S: Final = 0.1
"""Seconds until a child that closed its pipes is looked at again."""

TAIL_LINES: Final = 50

_PR_SET_DUMPABLE: Final = 4
"""The number of prctl(2)'s option."""

_PTRACE_TRACEME: Final = 0

SILENT_S: Final = 60.0
"""Seconds without a line after which `run` tells that the child says nothing."""

PORTS_S: Final = (0.05, 0.25)
"""Seconds between two looks at the child's connections, in its first seconds and then."""

PORTS_OFTEN_S: Final = 3.0
"""How many those are."""

LATE_S: Final = 7.0
"""Seconds before its time is up at which it is looked at once more, or a quarter of that time."""

SILENT_AGAIN_S: Final = 30.0
"""Seconds until it tells so again."""


_OURS: Final = frozenset(name.encode() for name in OUR_SECRETS)


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

    ports: frozenset[int] = frozenset()
    """The local ports of its connections, but for those that were short."""

    oom_kills: int | None = None
    """How many processes of our container the kernel killed for memory meanwhile, if known."""

    pids_refused: int = 0
    """How often our container was refused a process or thread meanwhile, by its limit."""

    clue: tuple[str, str] | None = None
    """What `Callbacks.late` found out."""


@dataclass(frozen=True)
class Program:
    """What to run."""

    argv: Sequence[str]
    environ: Mapping[bytes, bytes]
    mark: bytes
    """An assignment in ``environ`` that nobody else got: by it those are found who left the
    program's process group."""

    timeout_s: float

    ports: bool = True
    """Whether somebody asks for the ports of its connections. Each look goes through every process
    of the machine, which a tool that keeps all cores busy would feel."""


@dataclass(frozen=True)
class Callbacks:
    """What `run` calls while the child runs."""

    line: Callable[[str, str], None]
    """A stream's name and a line of it, with whatever secrets are in it; see `output.shown`."""

    silence: Callable[[float, set[int]], None]
    """Seconds since the last line, and the local ports of the child's connections."""

    end: Callable[[set[int]], None]
    """When its group is dead, whatever happened: the ports that it had when we ended it."""

    late: Callable[[set[int]], tuple[str, str] | None] = lambda _: None
    """When its time is nearly up: what it still does, by its connections' ports, and a remedy."""


def run(program: Program, callbacks: Callbacks, watches: Sequence[Watch]) -> Finished:
    """Run a program to its end.

    Its stdin is /dev/null. SIGTERM to us, the timeout (seconds) and a lost watch end its whole
    process group; SIGTERM first and SIGKILL after `GRACE_S` seconds or at our second signal, but
    SIGKILL at once when a watch is lost, because somebody else may be at work by then. With the
    group go those who left it. SIGKILL to us ends them too, within a second. Raises what
    ``watch.check`` raises, `Terminated`, and OSError when the program cannot be started. From the
    first call on, until exec, no process of our user can read this one, and the kernel writes no
    core of it.
    """
    _shield()
    ports: set[int] = set()
    with signals.deferred() as signalled:
        try:
            child = _Child(program, callbacks, watches, signalled)
            ports = child.ports
            return child.run()
        finally:
            callbacks.end(ports)


class _Child:
    def __init__(
        self,
        program: Program,
        callbacks: Callbacks,
        watches: Sequence[Watch],
        signalled: signals.Deferred,
    ) -> None:
        self.started = self.last_line_at = time.monotonic()
        self.ends_at = self.started + program.timeout_s
        self.late_at = self.ends_at - min(LATE_S, program.timeout_s / 4)
        self.silent_at = self.started + SILENT_S
        self.mark = program.mark
        self.callbacks = callbacks
        self.watches = watches
        self.signalled = signalled
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.kill_at: float | None = None
        self.timed_out = False
        self.clue: tuple[str, str] | None = None
        self.oom_kills = cgroups.oom_kills()
        self.pids_refused = cgroups.pids_refused()
        self.ports: set[int] = set()
        self.all_ports: set[int] = set()
        self.ports_at = self.started + PORTS_S[0] if program.ports else math.inf
        self.pidfd: int | None = None
        self.watchdog = _Watchdog(program.mark)
        try:
            self.process = subprocess.Popen(  # noqa: S603  the image's own command
                program.argv,
                env=program.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
            self.watchdog.watch(self.process.pid)
        except BaseException:
            self.watchdog.dismiss()
            raise

    def run(self) -> Finished:
        try:
            with selectors.DefaultSelector() as selector:
                self._register(selector)
                while not self._exited():
                    self._turn(selector, self._next_wakeup())
                    self._decide()
                self._drain(selector)
        finally:
            self._end()
        elapsed_s = time.monotonic() - self.started
        tail = tuple(map(shown, self.tail))
        ports = frozenset(self.all_ports | self.ports)
        before, now = self.oom_kills, cgroups.oom_kills()
        return Finished(
            self.process.returncode,
            elapsed_s,
            self.timed_out,
            tail,
            ports,
            None if before is None or now is None else now - before,
            cgroups.pids_refused() - self.pids_refused,
            self.clue,
        )

    def _register(self, selector: selectors.BaseSelector) -> None:
        for name in ("stdout", "stderr"):
            pipe = getattr(self.process, name)
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, Lines(name, self._line))
        for watch in self.watches:
            selector.register(watch, selectors.EVENT_READ, watch)
        selector.register(self.signalled, selectors.EVENT_READ, self.signalled)
        if hasattr(os, "pidfd_open"):
            # A kernel without it (or a seccomp profile against it) leaves the tick.
            with suppress(OSError):
                self.pidfd = os.pidfd_open(self.process.pid)
                selector.register(self.pidfd, selectors.EVENT_READ)

    def _line(self, stream: str, line: str) -> None:
        self.last_line_at = time.monotonic()
        self.silent_at = self.last_line_at + SILENT_S
        self.tail.append(line)
        self.callbacks.line(stream, line)

    def _next_wakeup(self) -> float:
        """Seconds until something must be decided."""
        if self.pidfd is None:
            return TICK_S
        until = self.kill_at if self.kill_at is not None else self.ends_at
        return max(0.0, min(until, self.silent_at, self.ports_at, self.late_at) - time.monotonic())

    def _turn(self, selector: selectors.BaseSelector, wait_s: float) -> None:
        for key, _ in selector.select(wait_s):
            if isinstance(key.data, Lines):
                self._read(selector, key)
            elif key.data is self.signalled:
                self.signalled.drain()
            elif key.data is not None:
                key.data.check()

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

    def _decide(self) -> None:
        """Begin or finish ending the child when a signal came or its time is up."""
        now = time.monotonic()
        if now >= self.ports_at:
            group, left = self._pids()
            self.all_ports |= procfs.local_ports(group | left)
            often = now - self.started < PORTS_OFTEN_S
            self.ports_at = time.monotonic() + PORTS_S[0 if often else 1]
        if now >= self.late_at:
            self.late_at = math.inf
            group, left = self._pids()
            self.clue = self.callbacks.late(procfs.local_ports(group | left))
        if now >= self.silent_at:
            self.silent_at = now + SILENT_AGAIN_S
            if self.kill_at is None:
                group, left = self._pids()
                self.callbacks.silence(now - self.last_line_at, procfs.local_ports(group | left))
        if self.kill_at is not None:
            if now >= self.kill_at or self.signalled.count > 1:
                self._signal_group(signal.SIGKILL)
        elif self.signalled.signum is not None or now >= self.ends_at:
            self.timed_out = self.signalled.signum is None
            self.kill_at = now + GRACE_S
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
        """Signal the group, and those that left it."""
        group, left = self._pids()
        self.ports |= procfs.local_ports(group | left)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signum)
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signum)

    def _pids(self) -> tuple[set[int], set[int]]:
        group = procfs.of_group(self.process.pid)
        return group, procfs.marked(self.mark) - group

    def _end(self) -> None:
        """Leave nothing of the group; the last thing, whatever happened."""
        self._signal_group(signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + DRAIN_S
        while procfs.marked(self.mark) and time.monotonic() < deadline:
            self._signal_group(signal.SIGKILL)  # what it was just starting, too
            time.sleep(0.01)
        self.watchdog.dismiss()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        if self.pidfd is not None:
            os.close(self.pidfd)


class _Watchdog:
    """A process that outlives this one for a moment, if this one is killed, and ends its child.

    Nothing else can: SIGKILL leaves no last word, and the kernel's parent-death signal reaches one
    process, neither what that started nor what left its group. It holds the end of a pipe that
    closes with us. All else that it got by the fork it closes, or the server would take the lock
    for held. Where there is no /proc, there is no watchdog. Raises OSError.
    """

    def __init__(self, mark: bytes) -> None:
        self._pid = 0
        if not procfs.KNOWN:
            return
        reader, self._writer = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(self._writer)
            raise
        if not self._pid:
            try:
                _watch(reader, mark)
            finally:
                os._exit(0)  # no handler, no buffer and no connection of this process is its own
        os.close(reader)

    def watch(self, group: int) -> None:
        """Tell which process group is the child's."""
        if self._pid:
            os.write(self._writer, b"%d" % group)

    def dismiss(self) -> None:
        """End it; there is nothing left to watch. It leaves no zombie."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            os.close(self._writer)
            self._pid = 0


def _watch(reader: int, mark: bytes) -> None:
    """What the watchdog does: wait until our pipe closes, then kill what is left of the child."""
    gc.disable()  # what it would collect talks to the server as it goes
    os.setsid()  # whoever signals our group means us
    for signum in signals.ENDING:
        signal.signal(signum, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    procfs.close_all_but(reader)
    group = os.read(reader, 16)
    while os.read(reader, 16):
        pass
    deadline = time.monotonic() + DRAIN_S
    while True:
        if group:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(int(group), signal.SIGKILL)
        for pid in procfs.marked(mark):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:  # what it was just starting, too
            return
        time.sleep(0.01)


@cache
def _shield() -> None:
    """Close this process to others of its user; exec opens it again, so the service is as usual.

    Afterwards /proc/self/environ is root's, and what else we read of /proc is everybody's. The
    kernel still lets in who has CAP_SYS_PTRACE, and seccomp may refuse to close anything, so the
    secrets that no child gets are first taken out of the block that /proc shows.
    """
    with suppress(OSError):  # where there is no /proc, nobody can look there either
        _wipe(*_environ_block())
    try:
        closed = not ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except AttributeError:  # not Linux
        return
    if not closed:
        log.event(
            "warning",
            "process.not_protected",
            reason="the kernel refused prctl(PR_SET_DUMPABLE)",
            remedy="Allow prctl in the container's seccomp profile, or push and seed can read this "
            "program's memory and with it ENTRYPOINT_ADMIN_URL.",
        )


def _environ_block() -> tuple[int, int]:
    """Where the kernel finds what /proc/self/environ shows. Raises OSError."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[47]), int(fields[48])  # proc_pid_stat(5) counts these as 50 and 51


def _wipe(start: int, end: int) -> None:
    """Overwrite the values of our secrets between two addresses, the names stay."""
    block = (ctypes.c_char * (end - start)).from_address(start)
    at = 0
    for entry in block.raw.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name in _OURS:
            ctypes.memset(start + at + len(name) + 1, 0, len(value))
        at += len(entry) + 1


def refused_by_kernel(path: str) -> OSError | None:
    """Why the kernel does not execute a program; None where it does, or where that cannot be told.

    A child of ours becomes it, and is stopped and killed before the program's first instruction.
    """
    with suppress(OSError):
        pid = os.fork()
        if not pid:
            _become(path)
        _, status = os.waitpid(pid, 0)
        if os.WIFSTOPPED(status):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        number = os.WEXITSTATUS(status) if os.WIFEXITED(status) else errno.ENOEXEC
        return OSError(number, os.strerror(number)) if number else None
    return None


def _become(path: str) -> NoReturn:
    """What that child does: it is traced, so exec stops it."""
    refusal = 0
    try:
        if not ctypes.CDLL(None).ptrace(_PTRACE_TRACEME, 0, 0, 0):
            os.execve(path, [path], {})  # noqa: S606  it does nothing
    except OSError as error:
        refusal = error.errno or 0
    finally:
        os._exit(refusal)


def reap() -> None:
    """Collect orphans that became ours (PID 1), so that the service inherits no zombie."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
