"""Becomes a program in a network namespace of its own, whose loopback a file brings up.

Arguments: the file, a TCP port, the server's Unix socket, and the program. Until the file is there,
no address has a route; then what is sent to the port goes to the server, which is outside.
"""

import fcntl
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path

SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def copy(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def forward() -> None:
    with socket.create_server(("0.0.0.0", int(sys.argv[2]))) as listener:  # noqa: S104  its own
        while True:
            client, _ = listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(sys.argv[3])
            for pair in ((client, server), (server, client)):
                threading.Thread(target=copy, args=pair, daemon=True).start()


if os.fork():
    os.execv(sys.argv[4], sys.argv[4:])  # noqa: S606  no shell is wanted
# The parent became the program: when it has ended there is nobody to forward for.
parent = os.getppid()
threading.Thread(target=forward, daemon=True).start()
for descriptor in (0, 1, 2):
    os.close(descriptor)
up = False
while os.getppid() == parent:
    if not up and Path(sys.argv[1]).exists():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
        up = True
    time.sleep(0.02)
os._exit(0)
