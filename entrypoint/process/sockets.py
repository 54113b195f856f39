"""The connections of a child, as the kernel lists them: for finding their other ends.

A client may name itself as it likes, so its application_name alone does not find its sessions.
"""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

_ESTABLISHED: Final = "01"

_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


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
