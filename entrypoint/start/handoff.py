"""Step 6: become the service. The only user of os.exec*.

The service gets the PID, working directory, umask, argv, environment, signal mask, dispositions and
descriptors 0-2 that it would have without us.
"""

import errno
import os
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
_CHANGES: Final = frozenset(";&|\n`(){}<>")  # with these the first word may not name the program

_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./@%+-")
"""Characters that a shell does not interpret."""

_ELF_HEADER: Final = 20  # bytes of an ELF header up to the end of e_machine

_MACHINES: Final = {"x86_64": b"\x3e\0", "aarch64": b"\xb7\0"}
"""e_machine on the machines that services run on; on other machines `find` tries every binary."""

_PT_INTERP: Final = 3

_PLATFORM: Final = (
    "Use a program that is built for this image's platform and C library: build the image with "
    "--platform, and copy programs from a base of the same kind (Alpine, or Debian)."
)

_REMEDIES: Final = {  # remedies by the errno of exec
    errno.E2BIG: "Give the service fewer or shorter variables and words: the kernel allows 128 KiB "
    "for each, and a quarter of the stack's limit (ulimit -s) for all together.",
    errno.ETXTBSY: "Stop the process that writes to the program, and start again.",
}

_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"  # execvp's default behind Node's folder


class Executable(NamedTuple):
    """The service's program, and its argv exactly as the container has it."""

    path: str
    argv: tuple[str, ...]


def find(argv: tuple[str, ...], environ: Environment) -> Executable:
    """Find the service's executable before the start does any work.

    Raises `ExecError` with 127 if it is not found and 126 if it cannot be executed, as shells and
    container runtimes do, and `UsageError` if the command is missing or needs a shell. Checks a
    shell's text as well, if the program in it is certain.
    """
    script = _script(argv, environ) if argv else None
    whole = script and ("$*" in script or "eval" in script)
    if not argv or (not _JOINERS.isdisjoint(argv) and not whole):
        from . import shapes  # here and below: only a start that fails imports it

        raise shapes.joined(argv) if argv else shapes.none()
    path = environ.get("PATH") or _DEFAULT_PATH
    service = Executable(_executable(argv, path), argv)
    if script is not None:
        if first := _certain_program(script):
            _executable((first, *script.split()[script.split().index(first) + 1 :]), path)
    elif any("$" in word for word in argv):
        _doubt(argv)
    return service


def _executable(argv: Sequence[str], path: str) -> str:
    """The file that execvp would execute. Raises `ExecError`."""
    name = argv[0]
    folders = [""] if "/" in name else [folder or "." for folder in path.split(":")]
    refusals: list[ExecError] = []
    for candidate in [os.path.join(folder, name) for folder in folders] if name else []:
        if os.path.exists(candidate):
            if (refusal := _refusal(candidate, argv, path)) is None:
                return candidate
            refusals.append(refusal)
    if not refusals:
        from . import shapes

        raise shapes.not_found(name, argv)
    # As execvp does, prefer 126: "not executable" says more than "not found".
    raise min(refusals, key=lambda refusal: refusal.exit_code)


def _script(argv: Sequence[str], environ: Environment) -> str | None:
    """The text after a shell's -c; None if it reads a file first, which may set PATH or cd."""
    if os.path.basename(argv[0]) not in _SHELLS or environ.get("BASH_ENV"):
        return None
    words, told = iter(argv[1:]), False
    for word in words:
        if word[:1] not in ("-", "+"):
            return word if told else None  # a script's name; the rest is the script's argv
        if word[:2] == "--" or not {*"il"}.isdisjoint(word):
            return None
        told = told or (word[0] == "-" and "c" in word)
        if not {*"oO"}.isdisjoint(word):
            next(words, None)  # the option's name
    return None


def _certain_program(text: str) -> str | None:
    """The program that a shell's text begins with, or None if that is uncertain.

    Its name cannot be a builtin's, a function's or an alias's, and no other program can come first.
    """
    words = text.split()[:2]
    first = words[-1] if words[:1] == ["exec"] else "".join(words[:1])
    if first[:1] == "[":  # a list that Docker took for text; [ and [[ are the shell's tests
        return first if first not in ("[", "[[") else None
    if not _CHANGES.isdisjoint(text.strip()) or not set(first) <= _PLAIN:
        return None
    ending = os.path.splitext(first)[1]
    if first[:1] == "-" and words[0] == "exec":  # exec's own option
        return None
    certain = "/" in first or first[:1] == "-" or ending in (".js", ".mjs", ".cjs", ".ts", ".py")
    return first if certain else None


def _doubt(argv: tuple[str, ...]) -> None:
    """Warn of a variable that will not be expanded; the service may want it literally."""
    from . import shapes

    if any(os.path.basename(word) in _SHELLS for word in argv):
        return
    if word := shapes.unexpanded(argv):
        log.event(
            "warning",
            "command.variable_not_expanded",
            reason=f"the word {word!r} reaches the service unchanged: no shell expands a list",
            remedy=f"Set the container's command to {shapes.expanding(argv)}, whose shell expands "
            "it, or write the value.",
        )


def _refusal(file: str, argv: Sequence[str], path: str) -> ExecError | None:
    if not os.path.isfile(file) or not os.access(file, os.X_OK):
        from . import shapes

        return shapes.no_program(file, argv)
    try:
        with open(file, "rb") as opened:
            head = opened.read(4096)
    except OSError:  # executable but unreadable
        return None
    if head.startswith(b"#!"):
        return _refusal_of_script(file, head[2:256].split(b"\n")[0], path)
    if head.startswith(b"\x7fELF"):
        return _refusal_of_binary(file, head)
    if b"\0" in head[:256]:  # another binary format, which the kernel may know
        return None
    from . import shapes

    return shapes.no_first_line(file, argv)


def _refusal_of_script(file: str, line: bytes, path: str) -> ExecError | None:
    """Why the kernel, or the interpreter, would refuse a script with this first line."""
    # Linux splits at blanks and tabs only, so a carriage return belongs to the last word.
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
        message = f"{file!r} needs the interpreter {os.fsdecode(missing)!r}, which is missing"
        remedy = f"Install the interpreter in the image, or correct the first line of {file}."
        return ExecError(message, code=NOT_FOUND, remedy=remedy)
    return None


def _missing_of_env(words: list[bytes], path: str) -> bytes:
    """The program that env would not find on PATH; empty if that is uncertain."""
    name = words[1] if words[:1] == [b"-S"] and words[1:] else b"".join(words[:1])
    if not name or name[:1] == b"-" or b"=" in name or b"/" in name:
        return b""
    folders = map(os.fsencode, path.split(":"))
    return b"" if any(os.path.exists(os.path.join(each, name)) for each in folders) else name


def _refusal_of_binary(file: str, head: bytes) -> ExecError | None:
    """Why the kernel refuses a binary for another machine or loader; tries it, for binfmt_misc."""
    loader = _loader(head)
    foreign = len(head) < _ELF_HEADER or head[18:20] != _MACHINES.get(os.uname().machine)
    if not foreign and (not loader or os.path.exists(loader)):
        return None
    from ..process import child

    problem = child.refused_by_kernel(file)
    if problem is None:
        return None
    code = NOT_FOUND if problem.errno == errno.ENOENT else NOT_EXECUTABLE
    what = f"cannot run: {problem.strerror}"
    if code == NOT_FOUND:
        what = f"needs the loader {os.fsdecode(loader)!r}, which is missing in the image"
    return ExecError(f"{file!r} {what}", code=code, remedy=_PLATFORM)


def _loader(head: bytes) -> bytes:
    """The dynamic loader of a 64-bit binary; empty if the first bytes do not name it."""
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
    """Replace this process by the service; the caller has closed all connections.

    Closes all descriptors but 0-2 and restores the signals. Raises `Terminated` for a signal that
    comes before exec, and `ExecError` if the kernel refuses the program.
    """
    _close_descriptors()  # before restore(), because thousands take time and a signal may come
    signals.restore()
    try:
        os.execve(service.path, service.argv, environ.block())  # noqa: S606  the purpose of `run`
    except OSError as error:
        found = error.errno != errno.ENOENT
        raise ExecError(
            f"{service.path!r} cannot run: {error.strerror}",
            code=NOT_EXECUTABLE if found else NOT_FOUND,
            remedy=_REMEDIES.get(error.errno or 0, _PLATFORM),
        ) from None


def _close_descriptors() -> None:
    """Close all open descriptors but 0-2, as /proc lists them.

    Without close_range (musl), os.closerange tries every number up to the limit: seconds at a
    container's usual million.
    """
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # no /proc, or no free descriptor
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        return
    for number in numbers:
        if number > 2:  # noqa: PLR2004  stderr
            with suppress(OSError):  # listdir's own descriptor is closed already
                os.close(number)
