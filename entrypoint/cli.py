"""The command line: commands, the one error boundary, exit codes. The only writer of stdout."""

import time
from typing import TYPE_CHECKING, Final

from . import log, phase
from .errors import EntrypointError, Terminated

if TYPE_CHECKING:
    import argparse
    from typing import TextIO

BUG: Final = 1
USAGE: Final = 2

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
        log.crash(error)
        phase.failed("entrypoint", BUG, f"a bug: {type(error).__name__}: {error}")
        failure, code = error, BUG
    if arguments[:1] and arguments[0] in STARTS:
        from . import notify  # only a start that failed pays for it

        notify.tell(failure, code)
    return code


def _configure_log() -> None:
    from .environment import Environment

    form, level = log.settings(Environment.of_container())
    log.configure(form=form, level=level)


def _dispatch(arguments: list[str]) -> int:
    # Every container start passes here, so argparse is left to those who ask for it.
    if arguments[:2] == ["run", "--"] and arguments[2:]:
        command, argv = "run", arguments[2:]
    else:
        from .arguments import parser

        try:
            parsed = parser().parse_args(arguments)
        except SystemExit as stop:  # argparse's own, after its message
            return USAGE if stop.code else 0
        command, argv = parsed.command, getattr(parsed, "argv", [])
        if command not in STARTS:
            return _operate(parsed)
    from .startup import start

    if command == "run":
        start.run(tuple(argv))
    start.prepare()
    return 0


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
