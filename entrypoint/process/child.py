"""Run child processes: each in its own group, read line by line, ended with all its descendants.

A watchdog, forked before the child, ends them if this process is killed. A child runs third-party
code as our user, so `run` hides this process's environment, memory and descriptors from it. The
only user of subprocess.
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
from dataclasses import InitVar, dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, NoReturn, Protocol

from .. import log
from ..config.keys import OUR_SECRETS
from . import procfs, signals
from .output import Lines, shown

GRACE_S: Final = 10.0  # seconds between SIGTERM and SIGKILL, as `docker stop` has them
DRAIN_S: Final = 0.5  # seconds to empty the pipes of a child whose descendants may still write
TICK_S: Final = 0.1  # seconds between two looks at a child without a pidfd
TAIL_LINES: Final = 50
_PR_SET_DUMPABLE: Final = 4  # prctl(2)
_PTRACE_TRACEME: Final = 0  # ptrace(2)
SILENT_S: Final = 60.0  # seconds without a line before the first `Callbacks.silence`
PORTS_S: Final = (0.05, 0.25)  # seconds between two looks at the child's connections: first, later
PORTS_OFTEN_S: Final = 3.0  # seconds that "at first" lasts
LATE_S: Final = 7.0  # seconds from `Callbacks.late` to the timeout, but at most a quarter of it
SILENT_AGAIN_S: Final = 30.0  # seconds between two calls of `Callbacks.silence`
_OURS: Final = frozenset(name.encode() for name in OUR_SECRETS)


class Watch(Protocol):
    """A resource, such as a lock, whose loss ends the child."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when `run` should call `check`."""

    def check(self) -> None:
        """Raise if the resource is lost."""


@dataclass(frozen=True)
class Finished:
    """How a child ended; ``returncode`` is negative for a signal, as in subprocess."""

    returncode: int
    elapsed_s: float
    timed_out: bool
    tail: tuple[str, ...]  # the last 50 lines, masked

    ports: frozenset[int] = frozenset()
    """The local ports of its TCP connections; short-lived ones may be missing."""

    oom_kills: int | None = None  # processes of the container that the OOM killer killed meanwhile
    pids_refused: int = 0  # how often the container's limit refused a process or thread meanwhile
    clue: tuple[str, str] | None = None  # what `Callbacks.late` returned


@dataclass(frozen=True)
class Program:
    """The program to run."""

    argv: Sequence[str]
    environ: Mapping[bytes, bytes]
    mark: bytes
    """An assignment in ``environ`` that no other program has: it identifies processes that left
    the program's group."""

    timeout_s: float

    ports: bool = True
    """Whether to record the ports of its connections. Each look reads every process of the machine,
    which slows down a tool that keeps all cores busy."""


@dataclass(frozen=True)
class Callbacks:
    """The functions that `run` calls while the child runs."""

    line: Callable[[str, str], None]  # a stream's name and a line, unmasked; see `output.shown`

    silence: Callable[[float, set[int]], None]
    """Gets the seconds since the last line and the local ports of the child's connections."""

    end: Callable[[set[int]], None]  # always, once the group is dead; its ports when `run` ended it

    late: Callable[[set[int]], tuple[str, str] | None] = lambda _: None
    """Gets the local ports shortly before the timeout; returns what the child is doing and a
    remedy."""


def run(program: Program, callbacks: Callbacks, watches: Sequence[Watch]) -> Finished:
    """Run a program to its end and return how it ended.

    stdin is /dev/null. A signal to this process, the timeout (seconds) and a lost watch end the
    child's group and the descendants that left it: with SIGTERM, then with SIGKILL after `GRACE_S`
    seconds or at a second signal. A lost watch means SIGKILL at once, because another start may be
    at work. If this process is killed, the watchdog sends SIGKILL within a second.

    Raises `Terminated`, the exceptions of `Watch.check`, and OSError if the program cannot be
    started. From the first call until exec, other processes of our user cannot read this process,
    and the kernel writes no core dump of it.
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


@dataclass
class _Child:
    program: InitVar[Program]
    callbacks: Callbacks
    watches: Sequence[Watch]
    signalled: signals.Deferred
    kill_at: float | None = None
    timed_out: bool = False
    clue: tuple[str, str] | None = None
    pidfd: int | None = None
    ports: set[int] = field(default_factory=set)
    all_ports: set[int] = field(default_factory=set)

    def __post_init__(self, program: Program) -> None:
        self.started = self.last_line_at = time.monotonic()
        self.ends_at = self.started + program.timeout_s
        self.late_at = self.ends_at - min(LATE_S, program.timeout_s / 4)
        self.silent_at = self.started + SILENT_S
        self.mark = program.mark
        self.unmarked: set[int] = set()
        self.sockets: dict[str, int] = {}
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.oom_kills = procfs.oom_kills()
        self.pids_refused = procfs.pids_refused()
        self.ports_at = self.started + PORTS_S[0] if program.ports else math.inf
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
        before, now = self.oom_kills, procfs.oom_kills()
        kills = None if before is None or now is None else now - before
        refused = procfs.pids_refused() - self.pids_refused
        code = self.process.returncode
        return Finished(code, elapsed_s, self.timed_out, tail, ports, kills, refused, self.clue)

    def _register(self, selector: selectors.BaseSelector) -> None:
        for name in ("stdout", "stderr"):
            pipe = getattr(self.process, name)
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, Lines(name, self._line))
        for watch in self.watches:
            selector.register(watch, selectors.EVENT_READ, watch)
        selector.register(self.signalled, selectors.EVENT_READ, self.signalled)
        if hasattr(os, "pidfd_open"):
            # Older kernels and some seccomp profiles refuse it; `TICK_S` remains.
            with suppress(OSError):
                self.pidfd = os.pidfd_open(self.process.pid)
                selector.register(self.pidfd, selectors.EVENT_READ)

    def _line(self, stream: str, line: str) -> None:
        self.last_line_at = time.monotonic()
        self.silent_at = self.last_line_at + SILENT_S
        self.tail.append(line)
        self.callbacks.line(stream, line)

    def _next_wakeup(self) -> float:
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
        now = time.monotonic()
        if now >= self.ports_at:
            self.all_ports |= self._look()
            often = now - self.started < PORTS_OFTEN_S
            self.ports_at = time.monotonic() + PORTS_S[0 if often else 1]
        if now >= self.late_at:
            self.late_at = math.inf
            self.clue = self.callbacks.late(self._look())
        if now >= self.silent_at:
            self.silent_at = now + SILENT_AGAIN_S
            if self.kill_at is None:
                self.callbacks.silence(now - self.last_line_at, self._look())
        if self.kill_at is not None:
            if now >= self.kill_at or self.signalled.count > 1:
                self._signal_group(signal.SIGKILL)
        elif self.signalled.signum is not None or now >= self.ends_at:
            self.timed_out = self.signalled.signum is None
            self.kill_at = now + GRACE_S
            self._signal_group(signal.SIGTERM)

    def _exited(self) -> bool:
        """Whether the child ended; it stays a zombie, so its group keeps its number."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, flags) is not None

    def _drain(self, selector: selectors.BaseSelector) -> None:
        """Read the rest; descendants that the child left behind may hold its pipes open."""
        for key in list(selector.get_map().values()):
            if not isinstance(key.data, Lines):
                selector.unregister(key.fileobj)
        deadline = time.monotonic() + DRAIN_S
        while selector.get_map() and (remaining := deadline - time.monotonic()) > 0:
            self._turn(selector, remaining)
        for key in selector.get_map().values():
            key.data.close()

    def _signal_group(self, signum: int) -> None:
        self.unmarked.clear()  # a number may have a new owner since the last look
        group, left = self._pids()
        self.ports |= procfs.local_ports(group | left)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signum)
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signum)

    def _look(self) -> set[int]:
        """The ports of its connections, at the cost of what is new since the last look."""
        group, left = self._pids()
        return procfs.local_ports(group | left, self.sockets)

    def _pids(self) -> tuple[set[int], set[int]]:
        group = procfs.of_group(self.process.pid)
        return group, procfs.marked(self.mark, self.unmarked) - group

    def _end(self) -> None:
        self._signal_group(signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + DRAIN_S
        while procfs.marked(self.mark) and time.monotonic() < deadline:
            self._signal_group(signal.SIGKILL)  # also what was being forked just now
            time.sleep(0.01)
        self.watchdog.dismiss()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        if self.pidfd is not None:
            os.close(self.pidfd)


class _Watchdog:
    """A process that kills the child when this process dies.

    SIGKILL runs no handler, and PR_SET_PDEATHSIG reaches neither grandchildren nor processes that
    left the group. The watchdog waits at a pipe that closes with this process, and closes all other
    inherited descriptors, or the server would consider the lock held. Does nothing without /proc.
    Raises OSError.
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
                os._exit(0)  # without running this process's handlers or flushing its buffers
        os.close(reader)

    def watch(self, group: int) -> None:
        if self._pid:
            os.write(self._writer, b"%d" % group)

    def dismiss(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            os.close(self._writer)
            self._pid = 0


def _watch(reader: int, mark: bytes) -> None:
    """The watchdog's work: wait until the pipe closes, then kill what is left of the child."""
    gc.disable()  # a collected connection would send Terminate to the server
    os.setsid()  # a signal to our group is not for the watchdog
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
        if time.monotonic() > deadline:  # until then it also kills what was being forked
            return
        time.sleep(0.01)


@cache
def _shield() -> None:
    """Make this process unreadable for others of its user; exec restores the default.

    Root then owns /proc/self/environ; the other files that we read in /proc stay readable. A
    process with CAP_SYS_PTRACE still gets in, and seccomp may refuse the call, so our secrets are
    first wiped from the block that /proc shows.
    """
    with suppress(OSError):  # without /proc there is no block to read
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        _wipe(int(fields[47]), int(fields[48]))  # proc_pid_stat(5) counts these as 50 and 51
    try:
        closed = not ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except AttributeError:  # not Linux
        return
    if not closed:
        log.event(
            "warning",
            "process.not_protected",
            reason="the kernel refused prctl(PR_SET_DUMPABLE)",
            remedy="Allow prctl in the container's seccomp profile; without it, push and seed can "
            "read this program's memory, which contains ENTRYPOINT_ADMIN_URL.",
        )


def _wipe(start: int, end: int) -> None:
    """Overwrite the values of our secrets between two addresses; keep the names."""
    block = (ctypes.c_char * (end - start)).from_address(start)
    at = 0
    for entry in block.raw.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name in _OURS:
            ctypes.memset(start + at + len(name) + 1, 0, len(value))
        at += len(entry) + 1


def refused_by_kernel(path: str) -> OSError | None:
    """Return why the kernel refuses to execute a program; None if it does not, or if unknown.

    A traced child executes it; the kernel stops it before its first instruction, and we kill it.
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
    """The child's side: ptrace stops it at exec."""
    refusal = 0
    try:
        if not ctypes.CDLL(None).ptrace(_PTRACE_TRACEME, 0, 0, 0):
            os.execve(path, [path], {})  # noqa: S606  killed before it runs
    except OSError as error:
        refusal = error.errno or 0
    finally:
        os._exit(refusal)


def reap() -> None:
    """Reap orphans that PID 1 inherited, so that the service has no zombies."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
