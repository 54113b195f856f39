"""Imports the program once, and then is one start after the other: each in a fork of its own.

Its first argument is the descriptor of a socket. A message brings four descriptors: a file with the
start's argv, folder and environment, what become its stdout and stderr, and a pipe that is told the
start's PID and, when it has ended, its wait status.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import pkgutil
import runpy
import select
import socket
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import entrypoint


def main() -> None:
    """Serve until the socket is closed; the fork that becomes a start leaves through its end."""
    for module in pkgutil.walk_packages(entrypoint.__path__, "entrypoint."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    gc.freeze()  # a collection in a fork would copy every page
    orders = socket.socket(fileno=int(sys.argv[1]))
    waiting = select.poll()
    waiting.register(orders, select.POLLIN)
    starts: dict[int, tuple[int, int]] = {}  # by descriptor: its pid, and who is told of its end
    while True:
        for fd, _ in waiting.poll():
            if fd != orders.fileno():
                waiting.unregister(fd)
                pid, status = starts.pop(fd)
                code = os.waitpid(pid, 0)[1]
                with suppress(BrokenPipeError):  # nobody waits for it any more
                    os.write(status, code.to_bytes(4, "little"))
                os.close(status)
                os.close(fd)
                continue
            fds = socket.recv_fds(orders, 1, 4)[1]
            if not fds:
                os._exit(0)
            *given, status = fds
            pid = os.fork()
            if pid == 0:
                become(*given)
                return
            with suppress(BrokenPipeError):
                os.write(status, pid.to_bytes(4, "little"))
            ended = os.pidfd_open(pid)
            starts[ended] = (pid, status)
            waiting.register(ended, select.POLLIN)
            for each in given:
                os.close(each)


def become(order: int, out: int, err: int) -> None:
    """Take the place that exec would have made."""
    with open(order, closefd=False) as file:
        arguments, directory, environ = json.load(file)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 256)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        new = os.fdopen(number, old.mode, encoding=old.encoding, errors=old.errors, closefd=False)
        new.reconfigure(line_buffering=old.line_buffering)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    block = b"".join(b"%s=%s\0" % (os.fsencode(n), os.fsencode(v)) for n, v in environ.items())
    *_, start, end, _ = Path("/proc/self/stat").read_text().split()
    room = int(end) - int(start)
    assert len(block) <= room
    ctypes.memmove(int(start), block.ljust(room, b"\0"), room)  # what /proc/self/environ shows
    sys.argv = ["-m", *arguments]


main()
try:
    runpy.run_module("entrypoint", run_name="__main__", alter_sys=True)
except SystemExit as error:
    if threading.active_count() > 1:
        raise
    # As the interpreter ends, but for freeing all objects: that copies every page of the fork.
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(error.code if isinstance(error.code, int) else bool(error.code))
