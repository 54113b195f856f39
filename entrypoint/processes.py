"""The processes of a child, as the kernel lists them: its group, and those that left it.

A daemon that a push leaves behind would go on changing the schema. It left the group, but it still
has the environment that it was started with.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


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


def _pids() -> Iterator[int]:
    with suppress(OSError):
        yield from (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
