"""The command line: commands, the one error boundary, exit codes. The only writer of stdout."""

import time
from typing import TYPE_CHECKING, Final

from . import log, phase
from .errors import EntrypointError, Terminated, UsageError

if TYPE_CHECKING:
    import argparse
    from typing import TextIO

BUG: Final = 1
USAGE: Final = UsageError.exit_code

STARTS: Final = ("run", "prepare")
"""The commands of containers; the others are people's, who see for themselves."""

CLEAR: Final = "\x1b[H\x1b[2J"
"""What empties a terminal."""


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code; does not return when a service was started."""
    failure: EntrypointError | Terminated | Exception
    _configure_log()
    try:
        return _dispatch(arguments)
    except (EntrypointError, Terminated) as error:
        _report(error)
        failure, code = error, error.exit_code
    except Exception as error:  # noqa: BLE001  the boundary: a bug must be seen, and masked
        failure, code = _unexpected(error)
    if "".join(arguments[:1]) in STARTS or isinstance(failure, UsageError):
        from . import notify  # only a start that failed pays for it

        notify.tell(failure, code)
    return code


def _unexpected(error: Exception) -> tuple[Exception, int]:
    """Tell what no step expected: the kernel's refusal, or a bug."""
    from . import kernel

    refused = kernel.refusal(error)
    if refused:
        _report(refused)
        return refused, refused.exit_code
    log.crash(error)
    phase.failed("entrypoint", BUG, f"a bug: {type(error).__name__}: {error}")
    return error, BUG


def _configure_log() -> None:
    from .environment import Environment

    form, level = log.settings(Environment.of_container())
    log.configure(form=form, level=level)


def _dispatch(arguments: list[str]) -> int:
    # Every container start passes here, so argparse is left to those who ask for it.
    argv = _of_start(arguments)
    if argv is None:
        from .arguments import parser

        try:
            return _operate(parser().parse_args(arguments))
        except SystemExit as stop:  # argparse's own, after its message
            return USAGE if stop.code else 0
    from .startup import start

    if argv is _MISUSED:
        start.refuse(arguments)
    if arguments[0] == "run":
        start.run(argv)
    start.prepare()
    return 0


_MISUSED: Final = ("",)


def _of_start(arguments: list[str]) -> tuple[str, ...] | None:
    """The service's words, where a container is to be started; `_MISUSED` where that fails.

    None is for people. Whoever wrote a Dockerfile reads no usage, and is told by an event.
    """
    command, rest = "".join(arguments[:1]), arguments[1:]
    if rest[:1] == ["--"] and command == "run":
        return tuple(rest[1:])
    if command in STARTS and rest not in (["-h"], ["--help"]):
        wrong = rest[:1] and (command != "run" or rest[0].startswith("-"))
        return _MISUSED if wrong else tuple(rest)
    return None if _is_for_people(command) else _MISUSED


def _is_for_people(command: str) -> bool:
    import sys

    from .startup.shapes import COMMANDS

    return command in COMMANDS or command.startswith("-") or _is_terminal(sys.stderr)


def _operate(arguments: "argparse.Namespace") -> int:
    """An operator's command, which may take its time."""
    import gc
    import shutil
    import sys

    from .operator import command

    gc.enable()
    if arguments.command == "completion":
        from .arguments import parser
        from .operator.completion import script

        _write(script(parser(), arguments.shell))
        return 0
    while True:
        width = shutil.get_terminal_size().columns if _is_terminal(sys.stdout) else None
        try:
            answer = command.run(arguments, width, _ask if _is_terminal(sys.stdin) else None)
        except EntrypointError as error:
            error.step = arguments.command
            raise
        watch = getattr(arguments, "watch", None)
        read = _write(CLEAR + answer.text if watch and width else answer.text)
        if not watch or not read:
            return answer.exit_code
        time.sleep(watch)


def _is_terminal(stream: "TextIO | None") -> bool:
    return stream is not None and stream.isatty()  # None where its descriptor is closed


def _ask(question: str) -> bool:
    """Ask on the terminal; only a whole yes agrees."""
    import sys

    sys.stderr.write(f"{question} [yes/no] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() == "yes"


def _write(text: str) -> bool:
    """Write to stdout; whether somebody reads it. A reader that has seen enough is no error."""
    import os
    import sys

    if sys.stdout is None:
        return False
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return False
    return True


def _report(error: EntrypointError | Terminated) -> None:
    """Log a failure once, under the name of its step."""
    fields: dict[str, object] = {"exit_code": error.exit_code}
    if error.elapsed_s is not None:
        fields["elapsed_s"] = error.elapsed_s
    if isinstance(error, Terminated):
        phase.failed(error.step, error.exit_code, error.message)
        log.event("warning", f"{error.step}.failed", error=error.message, **fields)
        return
    phase.failed(error.step, error.exit_code, error.message)
    log.event(
        "error",
        f"{error.step}.failed",
        error=error.message,
        remedy=error.remedy,
        **{**error.fields, **fields},
    )
