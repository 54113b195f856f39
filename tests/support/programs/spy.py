"""A push that steals: looks for texts wherever its user may look, and says where they are.

Arguments: the texts, each written backwards, so that the spy does not find its own argv. It prints
"found in PLACE" for each place that holds one, "inherits TARGET" for each descriptor beyond its
standard ones, and at the end "looked in N places".
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17

CHUNK = 1 << 20


class Vector(ctypes.Structure):
    """The kernel's struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def regions(pid: int) -> Iterator[tuple[int, int]]:
    """Where a process has memory that may be read."""
    with suppress(OSError), Path(f"/proc/{pid}/maps").open() as lines:
        for line in lines:
            where, rights, *_ = line.split()
            if rights.startswith("r"):
                start, _, end = where.partition("-")
                yield int(start, 16), int(end, 16)


def by_file(pid: int) -> Iterator[bytes]:
    """Its memory, as /proc has it."""
    with suppress(OSError), Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in regions(pid):
            with suppress(OSError, ValueError, OverflowError):
                memory.seek(start)
                yield memory.read(end - start)


def by_call(pid: int) -> Iterator[bytes]:
    """Its memory, as the system call has it."""
    libc = ctypes.CDLL(None)
    here = ctypes.create_string_buffer(CHUNK)
    for start, end in regions(pid):
        for at in range(start, end, CHUNK):
            size = min(CHUNK, end - at)
            mine, theirs = Vector(ctypes.addressof(here), size), Vector(at, size)
            got = libc.process_vm_readv(pid, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)
            if got > 0:
                yield here.raw[:got]


def seize(pid: int) -> bool:
    """Whether the kernel lets us trace it."""
    libc = ctypes.CDLL(None)
    if libc.ptrace(PTRACE_SEIZE, pid, None, None):
        return False
    libc.ptrace(PTRACE_DETACH, pid, None, None)
    return True


def places() -> Iterator[tuple[str, bytes]]:
    """What may be read, each with its name."""
    parent = os.getppid()
    yield "its own environment", Path("/proc/self/environ").read_bytes()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        who = "the parent" if parent == pid else f"process {pid}"
        if pid != os.getpid():
            for name in ("environ", "cmdline"):
                with suppress(OSError):
                    yield f"{who}'s {name}", Path(f"/proc/{pid}/{name}").read_bytes()
    for found in by_file(parent):
        yield "the parent's memory", found
    for found in by_call(parent):
        yield "the parent's memory by call", found
    with suppress(OSError):
        for name in os.listdir(f"/proc/{parent}/fd"):
            file = Path(f"/proc/{parent}/fd/{name}")
            yield "the parent's descriptors", os.fsencode(file.readlink())
            if file.is_file():
                yield "the parent's files", file.read_bytes()
    for folder in ("/run", "/dev/shm", "/tmp", os.getcwd()):  # noqa: S108  where a state may be
        for file in Path(folder).glob("entrypoint-*"):
            with suppress(OSError):
                yield "a state", file.read_bytes()


def main() -> None:
    sought = [text[::-1].encode() for text in sys.argv[1:]]
    found = set()
    looked = 0
    for name, content in places():
        looked += 1
        if any(text in content for text in sought):
            found.add(name)
    if seize(os.getppid()):
        found.add("a trace of the parent")
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own is closed by now
            if int(name) > 2:
                print(f"inherits {Path(f'/proc/self/fd/{name}').readlink()}", flush=True)
    for name in sorted(found):
        print(f"found in {name}", flush=True)
    print(f"looked in {looked} places", flush=True)


main()
