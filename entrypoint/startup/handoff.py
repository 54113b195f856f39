"""Step 6: become the service. The only user of os.exec*.

The service must not be able to tell that we were there: it keeps the PID, the working directory
and the umask, and gets the argv, the environment, the signal mask, the dispositions and the
descriptors 0-2 that it would have had without us.
"""

import errno
import os
from contextlib import suppress
from typing import Final, NamedTuple, NoReturn

from .. import signals
from ..environment import Environment
from ..errors import ExecError

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127

_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
"""What libc's execvp searches where there is no PATH, and where Node lives in its images."""


class Service(NamedTuple):
    """The service's program and its argv, word for word as the container was given them."""

    path: str
    argv: tuple[str, ...]


def find(argv: tuple[str, ...], environ: Environment) -> Service:
    """Find the service's executable before any work is done.

    Raises `ExecError` with 127 when it is not there and 126 when it is and cannot be executed, as
    shells and container runtimes have it.
    """
    name = argv[0]
    if "/" in name:
        candidates = [name]
    else:
        path = environ.get("PATH") or _DEFAULT_PATH
        candidates = [os.path.join(folder or ".", name) for folder in path.split(":")]
    refusals: list[ExecError] = []
    for candidate in candidates if name else []:
        if os.path.exists(candidate):
            refusal = _refusal(candidate)
            if refusal is None:
                return Service(candidate, argv)
            refusals.append(refusal)
    # As execvp has it: that one may not be executed tells more than that another lacks something.
    refusals.sort(key=lambda refusal: refusal.exit_code)
    raise (
        refusals[0]
        if refusals
        else ExecError(
            f"{name!r} is not found" + ("" if "/" in name else " on PATH"),
            code=NOT_FOUND,
            remedy="Correct the container's command, or add the program to the image.",
        )
    )


def _refusal(path: str) -> ExecError | None:
    """Why a file that exists cannot be executed; None if nothing speaks against it."""
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        what = "may not be executed" if os.path.isfile(path) else "is no file"
        remedy = f"Name a program in the container's command, or run chmod +x {path} in the image."
        return ExecError(f"{path!r} {what}", code=NOT_EXECUTABLE, remedy=remedy)
    try:
        with open(path, "rb") as file:
            head = file.read(256)
    except OSError:  # may be executed and not be read
        return None
    if head.startswith(b"#!"):
        return _refusal_of_script(path, head[2:].split(b"\n")[0])
    if b"\0" in head:  # a binary, which only the kernel can judge
        return None
    remedy = f"Give {path} a first line such as #!/bin/sh, or name its interpreter."
    return ExecError(f"{path!r} has no #! line", code=NOT_EXECUTABLE, remedy=remedy)


def _refusal_of_script(path: str, line: bytes) -> ExecError | None:
    """Why the kernel would refuse a script with this first line, or its interpreter would."""
    # Linux cuts at blanks and tabs only: a carriage return at the end is part of the last word.
    interpreter = line.replace(b"\t", b" ").strip(b" ").split(b" ")[0]
    if not interpreter.strip():
        remedy = f"Name an interpreter in the first line of {path}."
        return ExecError(f"{path!r} has an empty #! line", code=NOT_EXECUTABLE, remedy=remedy)
    if line.endswith(b"\r"):
        remedy = f"Save {path} with Unix line ends (LF)."
        message = f"{path!r} has a carriage return at the end of its #! line"
        return ExecError(message, code=NOT_FOUND, remedy=remedy)
    if not os.path.exists(interpreter):
        shown = os.fsdecode(interpreter)
        message = f"{path!r} wants the interpreter {shown!r}, which is not found"
        remedy = f"Install the interpreter in the image, or correct the first line of {path}."
        return ExecError(message, code=NOT_FOUND, remedy=remedy)
    return None


def become(service: Service, environ: Environment) -> NoReturn:
    """Replace this process by the service; every connection of ours must be closed before.

    Closes all descriptors but 0-2, restores signals. Raises `Terminated` for a
    signal that came until the very last, and `ExecError` when the kernel refuses the program.
    """
    _close_descriptors()  # while a signal still ends us: there may be thousands
    signals.restore()
    try:
        os.execve(service.path, service.argv, environ.block())  # noqa: S606  what we are here for
    except OSError as error:
        found = error.errno != errno.ENOENT
        raise ExecError(
            f"{service.path!r} cannot be executed: {error.strerror}",
            code=NOT_EXECUTABLE if found else NOT_FOUND,
            remedy="Use a program for this image's platform, and give a script a #! line.",
        ) from None


def _close_descriptors() -> None:
    """Close all but 0-2: those that there are, for there is room for a billion of them.

    Where a C library cannot close a range by one call (musl), Python tries every number up to the
    limit, which takes seconds at a container's usual million.
    """
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # no /proc, or no descriptor left to look with
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        return
    for number in numbers:
        if number > 2:  # noqa: PLR2004  stderr
            with suppress(OSError):  # the look itself is over
                os.close(number)
