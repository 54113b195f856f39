"""Becomes a program that may not call prctl(PR_SET_DUMPABLE), as under some seccomp profiles.

Arguments: the program and its arguments.
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_SET_DUMPABLE = 22, 38, 4

FILTER = 2
"""Seccomp's mode with a program, which is in classic BPF."""

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06

ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # EPERM

NUMBER = {"x86_64": 157, "aarch64": 167}
"""The number of the system call prctl."""

FIRST_ARGUMENT = 16
"""Its place in the kernel's struct seccomp_data."""


class Filter(ctypes.Structure):
    """The kernel's struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def main() -> None:
    steps = [
        (LOAD, 0, 0, 0),
        (EQUAL, 0, 3, NUMBER[os.uname().machine]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUAL, 0, 1, PR_SET_DUMPABLE),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Filter(len(steps), code)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  what it is for


main()
