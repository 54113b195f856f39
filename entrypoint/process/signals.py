"""Ending signals: one raises `Terminated`, or is only noted while a child runs.

`install` runs before any slow import, because the kernel drops SIGTERM for a PID 1 without a
handler. Signals that our parent ignored (``nohup``) stay ignored.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..errors import Terminated

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

# Python ignores these two at its start, and an ignored signal stays ignored across exec.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class _State:
    first: int | None = None  # the first ending signal
    deferred: bool = False  # whether the handler only notes signals
    count: int = 0
    ignored: int = 0  # the signals that our parent ignored, as the kernel's bits


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
        # The second signal on the way out: something hangs there. The kernel closes the
        # connections, and the server releases the lock with its session.
        os._exit(128 + signum)


def check() -> None:
    """Raise `Terminated` if a signal came, even if a caller swallowed the first exception."""
    if _state.first is not None:
        raise Terminated(_state.first)


class Deferred:
    """What `deferred` yields: the signal, the count and a descriptor to wait on."""

    def __init__(self, wakeup: int) -> None:
        self._wakeup = wakeup
        self._count_before = _state.count

    def fileno(self) -> int:
        """A descriptor that becomes readable whenever a signal arrives."""
        return self._wakeup

    def drain(self) -> None:
        """Empty the descriptor, so that it reports the next signal."""
        with suppress(BlockingIOError):
            while os.read(self._wakeup, 512):
                pass

    @property
    def signum(self) -> int | None:
        """The first ending signal, if any."""
        return _state.first

    @property
    def count(self) -> int:
        """How many ending signals came since `deferred` began."""
        return _state.count - self._count_before


@contextmanager
def deferred() -> Iterator[Deferred]:
    """Note ending signals; raise `Terminated` at the end if one came.

    `child.run` uses it to end the child's group and its server sessions first. Does not nest. An
    exception of the body takes precedence; `check` still raises afterwards.
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
    """Raise `Terminated` in the main thread after the body, for a signal that came in the body.

    For a body that creates something and does not block: afterwards its caller can clean it up.
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
    """Restore the signal dispositions that exec hands on; the last step before exec.

    exec resets handlers itself, so only what Python ignores is undone. No signal is lost: one that
    came before raises `Terminated` here; a later one meets the default disposition, as without us.
    The kernel would drop it for PID 1, so there our handlers stay until exec.
    """
    _reset(_ignored() & ~_state.ignored)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        if os.getpid() != 1:
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        check()
    except Terminated:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # a second signal must get through
        raise
    for signum in _IGNORED_BY_PYTHON:
        signal.signal(signum, signal.SIG_DFL)
    for signum in ENDING if os.getpid() != 1 else ():
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignored() -> int:
    """The ignored signals as the kernel's bits; 0 without /proc."""
    try:
        with open("/proc/self/status", "rb") as status:
            lines = [line for line in status if line.startswith(b"SigIgn:")]
    except OSError:
        return 0
    return int(lines[0].split()[1], 16) if lines else 0


def _reset(bits: int) -> None:
    """Reset signals with a system call, because the C library refuses to touch its own.

    musl ignores signal 34 once threads and libraries are loaded (``__synccall``), and the service
    would inherit that. Does nothing on machines whose system call number is unknown.
    """
    number = {"x86_64": 13, "aarch64": 134}.get(os.uname().machine)
    if not bits or number is None:
        return
    import ctypes

    default = bytes(64)  # struct sigaction, all zero: SIG_DFL, no flags, no mask
    for signum in range(1, 65):
        if bits >> (signum - 1) & 1:
            ctypes.CDLL(None).syscall(number, signum, default, None, 8)
