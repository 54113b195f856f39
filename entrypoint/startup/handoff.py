"""Step 6: become the service. The only user of os.exec*.

The service must not be able to tell that we were there: it keeps the PID, the working directory
and the umask, and gets the argv, the environment, the signal mask, the dispositions and the
descriptors 0-2 that it would have had without us.
"""

import errno
import os
import stat
from dataclasses import dataclass
from typing import Final, NoReturn

from .. import process, signals
from ..environment import Environment
from ..errors import ExecError

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127

_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
"""What libc's execvp searches where there is no PATH, and where Node lives in its images."""


@dataclass(frozen=True)
class Service:
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
    refusals = []
    for candidate in candidates if name else []:
        refusal = _refusal(candidate)
        if refusal is None:
            return Service(candidate, argv)
        refusals.append(refusal)
    for refusal in refusals:
        if refusal.exit_code == NOT_EXECUTABLE:
            raise refusal
    if "/" in name and refusals:
        raise refusals[0]
    raise ExecError(
        f"{name!r} is not found on PATH",
        code=NOT_FOUND,
        remedy="Correct the container's command, or install the program in the image.",
    )


def _refusal(path: str) -> ExecError | None:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        remedy = "Correct the container's command, or add the file to the image."
        return ExecError(f"{path!r} is not found", code=NOT_FOUND, remedy=remedy)
    if not stat.S_ISREG(mode) or not os.access(path, os.X_OK):
        what = "is no file" if not stat.S_ISREG(mode) else "may not be executed"
        remedy = f"Name a program in the container's command, or run chmod +x {path} in the image."
        return ExecError(f"{path!r} {what}", code=NOT_EXECUTABLE, remedy=remedy)
    return _refusal_of_content(path)


def _refusal_of_content(path: str) -> ExecError | None:
    """What the kernel would say to a script; a binary is left to it."""
    try:
        with open(path, "rb") as file:
            head = file.read(256)
    except OSError:  # may be executed and not be read
        return None
    if not head.startswith(b"#!"):
        if b"\0" in head:
            return None
        remedy = f"Give {path} a first line such as #!/bin/sh, or name its interpreter."
        return ExecError(f"{path!r} has no #! line", code=NOT_EXECUTABLE, remedy=remedy)
    # Linux cuts at blanks and tabs only: a carriage return at the line's end is part of the name.
    words = head[2:].split(b"\n")[0].replace(b"\t", b" ").strip(b" ").split(b" ")
    if os.path.exists(words[0]):
        return None
    return ExecError(
        f"{path!r} wants the interpreter {os.fsdecode(words[0])!r}, which is not found",
        code=NOT_FOUND,
        remedy="Correct the script's first line (a carriage return at its end counts), or install "
        "the interpreter.",
    )


def become(service: Service, environ: Environment) -> NoReturn:
    """Replace this process by the service; every connection of ours must be closed before.

    Collects orphans, restores signals, closes all descriptors but 0-2. Raises `Terminated` for a
    signal that came until the very last, and `ExecError` when the kernel refuses the program.
    """
    process.reap()
    signals.restore()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    try:
        os.execve(service.path, service.argv, environ.block())  # noqa: S606  what we are here for
    except OSError as error:
        found = error.errno != errno.ENOENT
        raise ExecError(
            f"{service.path!r} cannot be executed: {error.strerror}",
            code=NOT_EXECUTABLE if found else NOT_FOUND,
            remedy="Use a program for this image's platform, and give a script a #! line.",
        ) from None
