"""Becomes the program that its arguments name where the name server never answers.

Wants a mount and a network namespace of its own, of which it is root: `namespaces` of
`tests/process/test_gates.py`. The first argument is a file that it may write.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

SIOCSIFFLAGS = 0x8914
IFF_UP = 1

Path(sys.argv[1]).write_text("nameserver 127.0.0.1\n")
subprocess.run(["mount", "--bind", sys.argv[1], "/etc/resolv.conf"], check=True)
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(names, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
names.bind(("127.0.0.1", 53))
names.set_inheritable(True)  # stays bound, and nobody reads from it
os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  no shell is wanted
