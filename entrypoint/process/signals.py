"""Signals that end a start: one becomes an exception, or a flag while a child must be cared for.

Imported and installed before anything heavy, because a process that is PID 1 and has no handler
ignores SIGTERM altogether. Signals that came to us ignored (``nohup``) stay ignored.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Terminated

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

# Python ignores these two at its start, and an ignored signal stays ignored across exec.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class _State:
    first: int | None = None
    """The signal that ends this start, once there is one."""

    deferred: bool = False
    """Whether a signal is only noted, because somebody looks after a child."""

    count: int = 0

    ignored: int = 0
    """The signals that were ignored when we came, as the kernel's bits."""


_state = _State()


def install() -> None:
    """Let SIGTERM, SIGINT, SIGHUP and SIGQUIT raise `Terminated` in the main thread. Idempotent."""
    _state.ignored = _ignored()
    for signum in ENDING:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _handle)


def _handle(signum: int, _frame: object) -> None:
    _state.count += 1
    if _state.first is None:
        _state.first = signum
        if not _state.deferred:
            raise Terminated(signum)
    elif not _state.deferred:
        # The second one while we are already on our way out: something there hangs. The kernel
        # closes what is open, and the server frees the lock with its session.
        os._exit(128 + signum)


def check() -> None:
    """Raise `Terminated` if a signal came, even if somebody swallowed its exception."""
    if _state.first is not None:
        raise Terminated(_state.first)


class Deferred:
    """What `deferred` yields: which signal came, how often, and a descriptor to wait on."""

    def __init__(self, wakeup: int) -> None:
        self._wakeup = wakeup
        self._count_before = _state.count

    def fileno(self) -> int:
        """A descriptor that becomes readable whenever a signal arrives."""
        return self._wakeup

    def drain(self) -> None:
        """Empty the descriptor, so that it can report the next signal."""
        try:
            while os.read(self._wakeup, 512):
                pass
        except BlockingIOError:
            pass

    @property
    def signum(self) -> int | None:
        """The first ending signal, if one came."""
        return _state.first

    @property
    def count(self) -> int:
        """How many ending signals came since `deferred` was entered."""
        return _state.count - self._count_before


@contextmanager
def deferred() -> Iterator[Deferred]:
    """Note ending signals instead of raising, and raise `Terminated` at the end if one came.

    For the time in which a child runs: its group must be ended and its server sessions too
    before we go. Does not nest and blocks nothing; an exception of the body wins over the signal,
    which `check` still reports.
    """
    check()
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _state.deferred = True
    try:
        yield Deferred(reader)
    finally:
        _state.deferred = False
        signal.set_wakeup_fd(previous)
        os.close(reader)
        os.close(writer)
    check()


@contextmanager
def late() -> Iterator[None]:
    """Raise `Terminated` for a signal that comes in the body behind it, in the main thread.

    For what begins something and waits for nobody: who began it knows then what to end.
    """
    before, count = _state.deferred, _state.count
    _state.deferred = True
    try:
        yield
    finally:
        _state.deferred = before
    if not before and _state.count != count:
        check()


def restore() -> None:
    """Put back the dispositions that exec hands on; the last thing before it.

    Handlers reset themselves on exec, so only what Python set to "ignore" needs undoing. No signal
    is lost: one that came until now raises `Terminated` here, one that comes later meets the
    default disposition, as it would without us. As PID 1 that would be dropped by the kernel, so
    there our handlers stay until exec, and raise `Terminated` to the last.
    """
    _reset(_ignored() & ~_state.ignored)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        if os.getpid() != 1:
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        check()
    except Terminated:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # a second one must not wait
        raise
    for signum in _IGNORED_BY_PYTHON:
        signal.signal(signum, signal.SIG_DFL)
    for signum in ENDING if os.getpid() != 1 else ():
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignored() -> int:
    """The kernel's bits of ignored signals; none where there is no /proc."""
    try:
        with open("/proc/self/status", "rb") as status:
            lines = [line for line in status if line.startswith(b"SigIgn:")]
    except OSError:
        return 0
    return int(lines[0].split()[1], 16) if lines else 0


def _reset(bits: int) -> None:
    """Give signals their default disposition past the C library, which forbids it for its own.

    musl ignores signal 34 once threads and libraries were loaded (its ``__synccall``), and the
    service would inherit that. Does nothing on machines whose system call's number is not known.
    """
    number = {"x86_64": 13, "aarch64": 134}.get(os.uname().machine)
    if not bits or number is None:
        return
    import ctypes

    default = bytes(64)  # the kernel's struct sigaction, all zero: SIG_DFL, no flags, no mask
    for signum in range(1, 65):
        if bits >> (signum - 1) & 1:
            ctypes.CDLL(None).syscall(number, signum, default, None, 8)
