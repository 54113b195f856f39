"""Finds a child's processes and connections in /proc.

A daemon that a push leaves behind would go on changing the schema. It has left the process group
but keeps its initial environment. A client chooses its application_name freely, so the ports of
its connections identify its sessions.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

KNOWN: Final = Path("/proc/self/fd").exists()  # whether /proc has processes and descriptors
_ESTABLISHED: Final = "01"
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


def of_group(group: int) -> set[int]:
    """The pids of a process group. Here and below, unreadable processes are left out."""
    found = set()
    for pid in _pids():
        with suppress(OSError):
            if os.getpgid(pid) == group:
                found.add(pid)
    return found


def marked(mark: bytes) -> set[int]:
    """The pids of the processes whose initial environment has this ``NAME=value``."""
    found = set()
    for pid in _pids():
        with suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def local_ports(pids: Iterable[int]) -> set[int]:
    """The local ports of these processes' established TCP connections; none without /proc."""
    ports: set[int] = set()
    for pid in pids:
        with suppress(OSError):
            ports |= _ports(pid)
    return ports


def _ports(pid: int) -> set[int]:
    inodes = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            if match := _SOCKET.fullmatch(os.readlink(f"/proc/{pid}/fd/{descriptor}")):
                inodes.add(match[1])
    ports = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError), open(f"/proc/{pid}/net/{table}") as lines:
            for words in map(str.split, lines):
                # sl, local address, remote address, state, ..., the tenth is the inode
                if len(words) > 9 and words[3] == _ESTABLISHED and words[9] in inodes:  # noqa: PLR2004
                    ports.add(int(words[1].rpartition(":")[2], 16))
    return ports


def close_all_but(kept: int) -> None:
    """Close every descriptor of this process but ``kept``. Raises OSError without /proc."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) != kept:
            with suppress(OSError):  # listdir's own descriptor is closed already
                os.close(int(name))


def _pids() -> Iterator[int]:
    with suppress(OSError):
        yield from (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
