"""Limits and counters of the container's control groups. Reads only.

Supports cgroup v1 and v2 as a container sees them. Without a cgroup namespace, /proc shows the
host's path, and the container's group is mounted at one of its parents. A value that cannot be
read is unknown, which is no error.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = "/sys/fs/cgroup"
_NO_LIMIT: Final = 1 << 60  # cgroup v1 reports a number from here on when there is no limit


def oom_kills() -> int | None:
    """How many processes of the container the OOM killer has killed; None if unknown."""
    for folder in _folders("memory"):
        for name in ("memory.events", "memory.oom_control"):
            for line in _read(f"{folder}/{name}").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return None


def memory_limit() -> int | None:
    """The container's smallest memory limit in bytes; None if no limit is visible."""
    return _least("memory", "memory.max", "memory.limit_in_bytes")


def pids_limit() -> int | None:
    """The container's smallest limit of processes and threads; None if no limit is visible."""
    return _least("pids", "pids.max")


def pids() -> int:
    """The number of the container's processes and threads; 0 if unknown."""
    counts = (_number(f"{folder}/pids.current") for folder in _folders("pids"))
    return next((count for count in counts if count is not None), 0)


def pids_refused() -> int:
    """How often a limit, or the pod's invisible one, has refused a fork; 0 if unknown."""
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
    """Folders that may hold a controller's files: the own group's first, then its parents'."""
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
