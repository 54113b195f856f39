"""The processes of a child, as the kernel lists them: its group, and those that left it.

A daemon that a push leaves behind would go on changing the schema. It left the group, but it still
has the environment that it was started with.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

KNOWN: Final = Path("/proc/self/fd").exists()
"""Whether the kernel lists processes and their descriptors."""


def of_group(group: int) -> set[int]:
    """The pids of a process group. What cannot be looked at is left out, here and below."""
    found = set()
    for pid in _pids():
        with suppress(OSError):
            if os.getpgid(pid) == group:
                found.add(pid)
    return found


def marked(mark: bytes) -> set[int]:
    """The pids of the processes that were started with this ``NAME=value`` in their environment."""
    found = set()
    for pid in _pids():
        with suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def close_all_but(kept: int) -> None:
    """Close every descriptor of this process but one. Raises OSError where there is no /proc."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  numbers, not paths
        if int(name) != kept:
            with suppress(OSError):  # the one by which they were listed
                os.close(int(name))


def _pids() -> Iterator[int]:
    with suppress(OSError):
        yield from (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
