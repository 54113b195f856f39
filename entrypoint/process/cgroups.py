"""What the container's control groups allow, and what they have counted. Only reads.

Both versions of the kernel's interface, as far as a container sees its own: where it has no
namespace for them, the path that /proc tells is the host's, and the container's is mounted above.
What cannot be read is not known, which is no error.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = "/sys/fs/cgroup"

_NO_LIMIT: Final = 1 << 60
"""From here on, what version 1 reports is none."""


def oom_kills() -> int | None:
    """How many processes of the container the kernel has killed for memory; None if unknown."""
    for folder in _folders("memory"):
        for name in ("memory.events", "memory.oom_control"):
            for line in _read(f"{folder}/{name}").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return None


def memory_limit() -> int | None:
    """The least number of bytes that the container may have; None if there is no limit in sight."""
    return _least("memory", "memory.max", "memory.limit_in_bytes")


def pids_limit() -> int | None:
    """How many processes and threads the container may have; None if no limit is in sight."""
    return _least("pids", "pids.max")


def pids() -> int:
    """How many it has; 0 if unknown."""
    counts = (_number(f"{folder}/pids.current") for folder in _folders("pids"))
    return next((count for count in counts if count is not None), 0)


def pids_refused() -> int:
    """How often a limit has refused one, a pod's too, which nobody in it sees; 0 if unknown."""
    return sum(
        int(line.removeprefix("max "))
        for folder in _folders("pids")
        for line in _read(f"{folder}/pids.events").splitlines()
        if line.startswith("max ")
    )


def _least(controller: str, *names: str) -> int | None:
    found = (_number(f"{folder}/{name}") for folder in _folders(controller) for name in names)
    return min((limit for limit in found if limit is not None and limit < _NO_LIMIT), default=None)


def _folders(controller: str) -> Iterator[str]:
    """Where a controller's files may be: of our own group first, then of those above it."""
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = f"{ROOT}/{controller}" if controllers else ROOT
        own = PurePosixPath(path)
        yield from (f"{mount}{each}" for each in (own, *own.parents))


def _number(path: str) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _read(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text("utf-8", "replace")
    return ""
