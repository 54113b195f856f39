"""Reads what the kernel tells of processes, connections and the container's limits.

A daemon that a push leaves behind would go on changing the schema. It has left the process group
but keeps its initial environment. A client chooses its application_name freely, so the ports of
its connections identify its sessions.

The limits are those of cgroup v1 or v2 as a container sees them. Without a cgroup namespace, /proc
shows the host's path, and the container's group is mounted at one of its parents. A value that
nobody can read is unknown, which is no error.
"""

import os
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = "/sys/fs/cgroup"
KNOWN: Final = Path("/proc/self/fd").exists()  # whether /proc has processes and descriptors
_ESTABLISHED: Final = "01"
_LISTENS: Final = "0A"
_NO_TCP: Final = (b"UNIX", b"UDP", b"NETLINK")
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")
_NO_LIMIT: Final = 1 << 60  # cgroup v1 reports a number from here on when there is no limit


def of_group(group: int) -> set[int]:
    """The pids of a process group. Here and below, unreadable processes are left out."""
    found = set()
    for pid in _pids():
        with suppress(OSError):
            if os.getpgid(pid) == group:
                found.add(pid)
    return found


def marked(mark: bytes, unmarked: set[int] | None = None) -> set[int]:
    """The pids of the processes whose initial environment has this ``NAME=value``.

    ``unmarked`` remembers, from call to call, processes without it, which are not read again. A
    new process with the number of one that ended between two calls is then missed.
    """
    found = set()
    pids = _pids()
    unmarked = set() if unmarked is None else unmarked
    unmarked &= pids
    for pid in pids - unmarked:
        with suppress(OSError), open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            if mark in file.read().split(b"\0"):
                found.add(pid)
            elif os.pread(file.fileno(), 1, 0):  # else it executed another program meanwhile
                unmarked.add(pid)
    return found


def local_ports(pids: Iterable[int], known: dict[str, int] | None = None) -> set[int]:
    """The local ports of these processes' established TCP connections; none without /proc.

    ``known`` remembers, from call to call, the ports of open sockets by their inodes: a connection
    that the peer has closed counts until the process closes it. The kernel walks its whole hash
    table to print the connections, which takes milliseconds on a large machine, so a network
    namespace's connections are read only once, and only for a socket that is not known.
    """
    known = {} if known is None else known
    inodes: set[str] = set()
    readers: dict[int, list[int]] = {}  # pids with an unknown socket, by network namespace
    for pid in pids:
        with suppress(OSError):
            sockets = _tcp_sockets(pid, known)
            inodes |= sockets
            if not sockets <= known.keys():
                readers.setdefault(_namespace(pid), []).append(pid)
    for each in readers.values():
        known |= {inode: port for inode, port in _sockets(each) if inode in inodes}
    for closed in known.keys() - inodes:
        del known[closed]
    return {port for port in known.values() if port}


def _tcp_sockets(pid: int, known: Container[str]) -> set[str]:
    inodes = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{descriptor}"
        with suppress(OSError):
            match = _SOCKET.fullmatch(os.readlink(path))
            if match and (match[1] in known or _may_be_tcp(path)):
                inodes.add(match[1])
    return inodes


def _may_be_tcp(path: str) -> bool:
    try:  # sockfs names a socket's protocol in this attribute (net/socket.c), such as MPTCP
        return not os.getxattr(path, "system.sockprotoname").startswith(_NO_TCP)
    except OSError:
        return True


def _namespace(pid: int) -> int:
    with suppress(OSError):
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    return -pid


def _sockets(pids: Sequence[int]) -> Iterator[tuple[str, int]]:
    """The inode and local port of what is connected where these are; port 0 of what listens."""
    for table in ("tcp", "tcp6"):
        for pid in pids:
            with suppress(OSError), open(f"/proc/{pid}/net/{table}") as lines:
                for words in map(str.split, lines):
                    # sl, local address, remote address, state, ..., the tenth is the inode
                    if len(words) > 9 and words[3] in (_ESTABLISHED, _LISTENS):  # noqa: PLR2004
                        port = int(words[1].rpartition(":")[2], 16)
                        yield words[9], port if words[3] == _ESTABLISHED else 0
                break  # the others have the same


def close_all_but(kept: int) -> None:
    """Close every descriptor of this process but ``kept``. Raises OSError without /proc."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) != kept:
            with suppress(OSError):  # listdir's own descriptor is closed already
                os.close(int(name))


def _pids() -> set[int]:
    with suppress(OSError):
        return {int(name) for name in os.listdir("/proc") if name.isdigit()}
    return set()


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
