"""Explains what the kernel refuses to this program or its children. Only failures import it.

A limit or profile of the container is no bug: each has its cause and an exit code that says whether
another start may succeed (`UnreachableError`, 4) or not (`RefusedError`, 5).
"""

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from ..errors import EntrypointError, RefusedError, UnreachableError
from . import procfs

_CLONE3: Final = 435  # the system call by which newer C libraries start threads, on all machines
_NO_THREAD: Final = "can't start new thread"  # Python's message, whatever errno was

_SHORTAGE: Final = re.compile(  # in a dynamic loader's ImportError, or psycopg's for a MemoryError
    r"(?im)too many open files|cannot allocate memory|failed to map|implementation: *$"
)


def refusal(error: BaseException) -> EntrypointError | None:
    """Return the error that ends the start; None if the kernel refused nothing."""
    cause = _cause(error)
    if cause is None:
        return None
    said = error.strerror if isinstance(error, OSError) else str(error).rpartition("\n")[2]
    what = f"the kernel refused an operation ({said or type(error).__name__})"
    return type(cause)(f"{what}: {cause.message}", remedy=cause.remedy)


def last_word(error: ImportError | MemoryError | OSError | SystemError) -> int:
    """Write a refusal to stderr without the log; return its exit code, or raise ``error``."""
    refused = refusal(error)
    if refused is None:
        raise error
    words = {"level": "error", "event": "entrypoint.failed"}
    words |= {"error": refused.message, "remedy": refused.remedy}
    # In the form of `log`, but without json, whose import may be what failed.
    text = "".join(f'"{key}": "{value.translate(_JSON)}", ' for key, value in words.items())
    text = f'{{{text}"exit_code": {refused.exit_code}}}\n'
    with suppress(OSError):
        os.write(2, text.encode("utf-8", "backslashreplace"))
    return refused.exit_code


_JSON: Final = {ord('"'): "'", ord("\\"): "/", **dict.fromkeys(range(32), " ")}  # for JSON


def _cause(error: BaseException) -> EntrypointError | None:
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return _processes()
    # CPython sometimes loses a MemoryError and raises a SystemError.
    if isinstance(error, MemoryError | SystemError):
        return _memory()
    if isinstance(error, ImportError):
        if match := _SHORTAGE.search(str(error)):
            return _files() if match[0].lower().startswith("too") else _memory()
        # A module that falls back from a failed import, in vain: hashlib without OpenSSL.
        return _cause(error.__context__) if error.__context__ else None
    known = _KNOWN.get(error.errno or 0) if isinstance(error, OSError) else None
    return known() if known else None


def _processes() -> EntrypointError:
    # Threads count as processes.
    if counted := _processes_of_container():
        return counted
    if _clone3() == errno.EPERM:
        return RefusedError(
            "the seccomp profile of this container is older than its C library, and refuses "
            "threads (clone3)",
            remedy="Update Docker to 20.10.10 or later, and runc and libseccomp with it, or take "
            "an image with an older C library, such as Debian 11's.",
        )
    most = _limit("RLIMIT_NPROC")
    if most is not None and os.geteuid():
        return UnreachableError(
            f"user {os.geteuid()} may run {most} processes and threads on the whole host",
            remedy="Raise ulimit -u (docker run --ulimit nproc), or give the service its own user "
            "id: processes of other containers with the same id count, too.",
        )
    if _limit("RLIMIT_AS") is not None:
        return _memory()
    if _seccomp():
        return RefusedError(
            "neither the container nor the user has reached a limit, so a seccomp profile refuses "
            "new processes and threads",
            remedy="Allow clone, clone3, fork and vfork in the container's seccomp profile.",
        )
    return UnreachableError(
        "the host has too many processes, or no memory for another one",
        remedy="Check the host's limits (kernel.pid_max, kernel.threads-max) and its free memory.",
    )


def _processes_of_container() -> EntrypointError | None:
    limit, there, refused = procfs.pids_limit(), procfs.pids(), procfs.pids_refused()
    if limit is not None and (there >= limit - 1 or refused):
        return UnreachableError(
            f"the container may run {limit} processes and threads, and runs {there}",
            remedy="Raise its limit (docker run --pids-limit, pids_limit in compose, podPidsLimit "
            "of the kubelet), or stop other programs in the container.",
        )
    if refused:  # the container counts what a limit that only the host sees has refused
        return UnreachableError(
            "the pod of this container has reached its limit of processes and threads",
            remedy="Raise its limit (podPidsLimit of the kubelet), or stop other programs in the "
            "pod.",
        )
    return None


def _memory() -> EntrypointError:
    most = _limit("RLIMIT_AS")
    if most is not None:
        cause = f"a process may use {_size(most)} of address space (ulimit -v)"
        remedy = "Raise ulimit -v: a thread's stack alone takes 8 MiB."
        return RefusedError(cause, remedy=remedy)
    limit = procfs.memory_limit()
    has = f"; the container may use {_size(limit)}" if limit is not None else ""
    return UnreachableError(
        f"no memory is left{has}",
        remedy="Give the container or its host more memory, or move other containers to another "
        "host.",
    )


def _files() -> EntrypointError:
    return RefusedError(
        f"a process may open {_limit('RLIMIT_NOFILE')} files (ulimit -n)",
        remedy="Raise ulimit -n: docker run --ulimit nofile=1024:524288, `ulimits` in compose.",
    )


def _profile() -> EntrypointError:
    which = "the container's seccomp profile" if _seccomp() else "a security module"
    return RefusedError(
        f"{which} or a missing capability forbids the operation",
        remedy="Update Docker and libseccomp on the host, or allow the call in the container's "
        "profile.",
    )


_files_of_host = partial(
    UnreachableError,
    "the host has reached its limit of open files",
    remedy="Raise fs.file-max on the host, or stop the program that leaves files open there.",
)
_disk = partial(
    UnreachableError,
    "a disk, a quota or another resource of the kernel is full",
    remedy="Free space on the host's disk (docker system prune) or on the container's mounts "
    "(df -h).",
)
_read_only = partial(
    RefusedError,
    "the file system is read-only",
    remedy="Mount a writable folder, such as a tmpfs at /tmp.",
)

_KNOWN: Final[dict[int, Callable[[], EntrypointError]]] = {
    errno.EAGAIN: _processes,
    errno.ENOMEM: _memory,
    errno.EMFILE: _files,
    errno.ENFILE: _files_of_host,
    errno.ENOSPC: _disk,
    errno.EDQUOT: _disk,
    errno.EROFS: _read_only,
    errno.EPERM: _profile,
    errno.ENOSYS: _profile,
}


def _limit(name: str) -> int | None:
    import resource

    most = resource.getrlimit(getattr(resource, name))[0]
    return None if most == resource.RLIM_INFINITY else most


def _clone3() -> int:
    """The errno of an invalid clone3: EPERM only if a seccomp profile answers."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(_CLONE3, None, 0)
    return ctypes.get_errno()


def _seccomp() -> bool:
    try:
        return "\nSeccomp:\t2" in Path("/proc/self/status").read_text("utf-8", "replace")
    except OSError:
        return False


def _size(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"
