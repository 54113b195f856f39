"""Step 6: become the service. The only user of os.exec*.

The service must not be able to tell that we were there: it keeps the PID, the working directory
and the umask, and gets the argv, the environment, the signal mask, the dispositions and the
descriptors 0-2 that it would have had without us.
"""

import errno
import os
import string
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, NoReturn

from .. import log
from ..config.environment import Environment
from ..errors import NOT_EXECUTABLE, NOT_FOUND, ExecError
from ..process import signals

_JOINERS: Final = frozenset({"&&", "||"})

_SHELLS: Final = frozenset({"sh", "ash", "bash", "dash", "ksh", "zsh"})

_CHANGES: Final = frozenset(";&|\n`(){}<>")
"""What may put another program before the first one of a shell's text, or in its place."""

_PLAIN: Final = frozenset(string.ascii_letters + string.digits + "_./@%+-")
"""What a shell takes as it is."""

_ELF_HEADER: Final = 20
"""Bytes up to the end of the field that says for which machine a binary is."""

_MACHINES: Final = {"x86_64": b"\x3e\0", "aarch64": b"\xb7\0"}
"""What that field says on the machines that services run on; on others every binary is tried."""

_PT_INTERP: Final = 3

_PLATFORM: Final = (
    "Use a program that is made for this image's platform and C library: build the image with "
    "--platform, and copy programs from a base of the same kind (Alpine, or Debian)."
)

_REMEDIES: Final = {
    errno.E2BIG: "Give the service fewer or shorter variables and words: the kernel takes 128 KiB "
    "for each, and a quarter of the stack's limit (ulimit -s) for all together.",
    errno.ETXTBSY: "Let nobody write to the program while the service starts.",
}
"""By what the kernel says of a program that it does not execute."""

_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
"""What libc's execvp searches where there is no PATH, and where Node lives in its images."""


class Executable(NamedTuple):
    """The service's program and its argv, word for word as the container was given them."""

    path: str
    argv: tuple[str, ...]


def find(argv: tuple[str, ...], environ: Environment) -> Executable:
    """Find the service's executable before any work is done.

    Raises `ExecError` with 127 when it is not there and 126 when it is and cannot be executed, as
    shells and container runtimes have it, and `UsageError` when there is no command, or one that
    only a shell would understand. What a shell is told to run is looked at as far as it is certain.
    """
    if not argv:
        from . import shapes  # here and below: no start pays for what is right

        raise shapes.none()
    script = _script(argv, environ)
    if not _JOINERS.isdisjoint(argv) and not (script and ("$*" in script or "eval" in script)):
        from . import shapes

        raise shapes.joined(argv)
    path = environ.get("PATH") or _DEFAULT_PATH
    service = Executable(_executable(argv, path), argv)
    if script is not None:
        first = _certain_program(script)
        if first:
            _executable((first, *script.split()[script.split().index(first) + 1 :]), path)
    elif any("$" in word for word in argv):
        _doubt(argv)
    return service


def _executable(argv: Sequence[str], path: str) -> str:
    """The file that the first word names, as execvp has it."""
    name = argv[0]
    if "/" in name:
        candidates = [name]
    else:
        candidates = [os.path.join(folder or ".", name) for folder in path.split(":")]
    refusals: list[ExecError] = []
    for candidate in candidates if name else []:
        if os.path.exists(candidate):
            refusal = _refusal(candidate, argv, path)
            if refusal is None:
                return candidate
            refusals.append(refusal)
    if not refusals:
        from . import shapes

        raise shapes.not_found(name, argv)
    # As execvp has it: that one may not be executed tells more than that another lacks something.
    refusals.sort(key=lambda refusal: refusal.exit_code)
    raise refusals[0]


def _script(argv: Sequence[str], environ: Environment) -> str | None:
    """The text that a shell is told to run; None for any other command.

    None too where the shell reads a file before, which may set PATH or change the folder.
    """
    if os.path.basename(argv[0]) not in _SHELLS or environ.get("BASH_ENV"):
        return None
    words, told = iter(argv[1:]), False
    for word in words:
        if word[:1] not in ("-", "+"):
            return word if told else None  # else a script, and what follows is its own
        if word[:2] == "--" or not {*"il"}.isdisjoint(word):
            return None
        told = told or (word[0] == "-" and "c" in word)
        if not {*"oO"}.isdisjoint(word):
            next(words, None)  # the option's name
    return None


def _certain_program(text: str) -> str | None:
    """The program that a shell's text begins with, where it can be nothing else.

    No builtin, function or alias has such a name, and nothing can come before it or in its place.
    """
    words = text.split()[:2]
    first = words[-1] if words[:1] == ["exec"] else "".join(words[:1])
    if first[:1] == "[":  # a list that Docker took for text, but for the tests of shells
        return first if first not in ("[", "[[") else None
    if not _CHANGES.isdisjoint(text.strip()) or not set(first) <= _PLAIN:
        return None
    ending = os.path.splitext(first)[1]
    if first[:1] == "-" and words[0] == "exec":  # an option of its own
        return None
    certain = "/" in first or first[:1] == "-" or ending in (".js", ".mjs", ".cjs", ".ts", ".py")
    return first if certain else None


def _doubt(argv: tuple[str, ...]) -> None:
    """Warn of a variable that nobody will expand: it may be meant so."""
    from . import shapes

    if any(os.path.basename(word) in _SHELLS for word in argv):
        return
    if word := shapes.unexpanded(argv):
        log.event(
            "warning",
            "command.variable_not_expanded",
            reason=f"the word {word!r} reaches the service as it is: a list is expanded by nobody",
            remedy=f"Set the container's command to {shapes.expanding(argv)}, whose shell expands "
            "it, or write what it stands for.",
        )


def _refusal(file: str, argv: Sequence[str], path: str) -> ExecError | None:
    """Why a file that exists cannot be executed; None if nothing speaks against it."""
    if not os.path.isfile(file) or not os.access(file, os.X_OK):
        from . import shapes

        return shapes.no_program(file, argv)
    try:
        with open(file, "rb") as opened:
            head = opened.read(4096)
    except OSError:  # may be executed and not be read
        return None
    if head.startswith(b"#!"):
        return _refusal_of_script(file, head[2:256].split(b"\n")[0], path)
    if head.startswith(b"\x7fELF"):
        return _refusal_of_binary(file, head)
    if b"\0" in head[:256]:  # a binary of another kind, which only the kernel can judge
        return None
    from . import shapes

    return shapes.no_first_line(file, argv)


def _refusal_of_script(file: str, line: bytes, path: str) -> ExecError | None:
    """Why the kernel would refuse a script with this first line, or its interpreter would."""
    # Linux cuts at blanks and tabs only: a carriage return at the end is part of the last word.
    words = [word for word in line.replace(b"\t", b" ").split(b" ") if word]
    interpreter = words[0] if words else b""
    if not interpreter.strip():
        remedy = f"Name an interpreter in the first line of {file}."
        return ExecError(f"{file!r} has an empty #! line", code=NOT_EXECUTABLE, remedy=remedy)
    if line.endswith(b"\r"):
        remedy = f"Save {file} with Unix line ends (LF)."
        message = f"{file!r} has a carriage return at the end of its #! line"
        return ExecError(message, code=NOT_FOUND, remedy=remedy)
    missing = b"" if os.path.exists(interpreter) else interpreter
    if os.path.basename(interpreter) == b"env" and not missing:
        missing = _missing_of_env(words[1:], path)
    if missing:
        message = f"{file!r} wants the interpreter {os.fsdecode(missing)!r}, which is not found"
        remedy = f"Install the interpreter in the image, or correct the first line of {file}."
        return ExecError(message, code=NOT_FOUND, remedy=remedy)
    return None


def _missing_of_env(words: list[bytes], path: str) -> bytes:
    """The program that env will not find on PATH; nothing where that is not certain."""
    name = words[1] if words[:1] == [b"-S"] and words[1:] else b"".join(words[:1])
    if not name or name[:1] == b"-" or b"=" in name or b"/" in name:
        return b""
    folders = map(os.fsencode, path.split(":"))
    return b"" if any(os.path.exists(os.path.join(each, name)) for each in folders) else name


def _refusal_of_binary(file: str, head: bytes) -> ExecError | None:
    """Why the kernel refuses a binary: for another machine, or without its loader.

    Only what looks so is tried, because an emulator may be registered for it.
    """
    loader = _loader(head)
    foreign = len(head) < _ELF_HEADER or head[18:20] != _MACHINES.get(os.uname().machine)
    if not foreign and (not loader or os.path.exists(loader)):
        return None
    from ..process import child

    problem = child.refused_by_kernel(file)
    if problem is None:
        return None
    code = NOT_FOUND if problem.errno == errno.ENOENT else NOT_EXECUTABLE
    what = f"cannot be executed: {problem.strerror}"
    if code == NOT_FOUND:
        what = f"wants the loader {os.fsdecode(loader)!r}, which is not in the image"
    return ExecError(f"{file!r} {what}", code=code, remedy=_PLATFORM)


def _loader(head: bytes) -> bytes:
    """The dynamic loader that a binary of 64 bits names; empty where it is not in its beginning."""
    if head[4:6] != b"\2\1":  # 64 bits, little endian
        return b""
    number = partial(int.from_bytes, byteorder="little")
    size, count = number(head[54:56]), number(head[56:58])
    start = number(head[32:40])
    for at in range(start, min(start + size * count, len(head) - 56), size or 1):
        if number(head[at : at + 4]) == _PT_INTERP:
            begin = number(head[at + 8 : at + 16])
            return head[begin : begin + number(head[at + 32 : at + 40])].rstrip(b"\0")
    return b""


def become(service: Executable, environ: Environment) -> NoReturn:
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
            remedy=_REMEDIES.get(error.errno or 0, _PLATFORM),
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
