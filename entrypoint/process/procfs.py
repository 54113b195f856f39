"""The processes and connections of a child, as /proc lists them.

A daemon that a push leaves behind would go on changing the schema. It left the process group, but
it still has the environment that it was started with. A client may name itself as it likes, so
its application_name alone does not find its sessions: the ports of its connections do.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

KNOWN: Final = Path("/proc/self/fd").exists()
"""Whether the kernel lists processes and their descriptors."""

_ESTABLISHED: Final = "01"

_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


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


def local_ports(pids: Iterable[int]) -> set[int]:
    """The local ports of all established TCP connections of these processes.

    Empty where there is no /proc, or where it may not be read. What ends meanwhile is left out.
    """
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
    """Close every descriptor of this process but one. Raises OSError where there is no /proc."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) != kept:
            with suppress(OSError):  # the one by which they were listed
                os.close(int(name))


def _pids() -> Iterator[int]:
    with suppress(OSError):
        yield from (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
