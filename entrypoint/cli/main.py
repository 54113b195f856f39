"""Runs commands behind the one error boundary. The only writer of stdout."""

from typing import TYPE_CHECKING, Final

from .. import log
from ..errors import EntrypointError, Terminated, UsageError
from ..health import progress
from ..process import signals

if TYPE_CHECKING:
    import argparse
    from typing import TextIO

BUG: Final = 1
USAGE: Final = UsageError.exit_code
STARTS: Final = ("run", "prepare")  # the commands that start containers; people run all others
CLEAR: Final = "\x1b[H\x1b[2J"  # the escape sequences that clear a terminal


class _Stdout:
    written = False  # whether a part of an answer was written


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code; does not return once a service runs."""
    failure: EntrypointError | Terminated | Exception
    _Stdout.written = False
    try:
        with signals.late():
            from ..config.environment import Environment

            form, level, coloured = log.settings(Environment.of_container())
            log.configure(form=form, level=level, coloured=coloured)
        signals.check()
        return _dispatch(arguments)
    except (EntrypointError, Terminated) as error:
        _report(error)
        _unanswered(arguments, error)
        failure, code = error, error.exit_code
    except Exception as error:  # noqa: BLE001  the boundary: log every bug, masked
        failure, code = _unexpected(arguments, error)
    if "".join(arguments[:1]) in STARTS or isinstance(failure, UsageError):
        from ..start import notify  # only failed starts pay for this import

        notify.tell(failure, code)
    return code


def _unexpected(arguments: list[str], error: Exception) -> tuple[Exception, int]:
    from ..process import kernel

    refused = kernel.refusal(error)
    if refused:
        _report(refused)
        _unanswered(arguments, refused)
        return refused, refused.exit_code
    log.crash(error)
    text = f"a bug: {type(error).__name__}: {error}"
    progress.failed("entrypoint", BUG, text)
    _unanswered(arguments, EntrypointError(text, remedy="Report it with the log, please."))
    return error, BUG


def _dispatch(arguments: list[str]) -> int:
    # Every container start passes here; only people's commands import argparse.
    argv = _of_start(arguments)
    if argv is None:
        from .parser import misused, parsed

        try:
            found = parsed(arguments)
        except SystemExit as stop:  # argparse printed its message and ended
            if not stop.code:
                _write("")  # flushes argparse's help
                return 0
            _unanswered(arguments, misused(stop))
            return USAGE
        return _operate(found)
    from ..start import run

    if argv is _MISUSED:
        run.refuse(arguments)
    if arguments[0] == "run":
        run.run(argv)
    run.prepare()
    return 0


_MISUSED: Final = ("",)


def _of_start(arguments: list[str]) -> tuple[str, ...] | None:
    """The service's argv if the command starts a container; `_MISUSED` if its use is wrong.

    None for commands of people, who read a usage message. A misused start logs an event, because
    the author of a Dockerfile sees only the log.
    """
    command, rest = "".join(arguments[:1]), arguments[1:]
    if rest[:1] == ["--"] and command == "run":
        return tuple(rest[1:])
    if command in STARTS and rest not in (["-h"], ["--help"]):
        wrong = rest[:1] and (command != "run" or rest[0].startswith("-"))
        return _MISUSED if wrong else tuple(rest)
    import sys

    from ..start.shapes import COMMANDS

    people = command in COMMANDS or command.startswith("-") or _is_terminal(sys.stderr)
    return None if people else _MISUSED


def _operate(arguments: "argparse.Namespace") -> int:
    import gc
    import sys

    from . import operate

    gc.enable()
    if arguments.command == "completion":
        from .parser import completion

        _write(completion(arguments.shell))
        return 0
    if watch := getattr(arguments, "watch", None):
        return _watch(arguments, watch)
    try:
        if arguments.command in ("check", "plan"):
            answer = operate.of_start(arguments, _width())
        else:
            answer = operate.run(arguments, _width(), _ask if _is_terminal(sys.stdin) else None)
    except EntrypointError as error:
        error.step = arguments.command
        raise
    try:
        _write(answer.text)
    except Terminated as error:
        answer.ended(error)
        raise
    if answer.failure:
        answer.failure.step = arguments.command
        raise answer.failure
    return answer.exit_code


def _watch(arguments: "argparse.Namespace", every_s: float) -> int:
    """Show an answer again and again, until Ctrl-C, or with ``--fail`` until an exit code."""
    import signal

    from . import operate

    code = 0
    try:
        for answer in operate.watched(arguments, every_s, _width):
            code = answer.exit_code
            if not _write(answer.text, clear=True) or (arguments.fail and code):
                break
    except EntrypointError as error:
        error.step = arguments.command
        raise
    except Terminated as error:
        if error.signum != signal.SIGINT:
            raise
        code = 0
    return code


def _unanswered(arguments: list[str], error: EntrypointError | Terminated) -> None:
    """With ``--json``, write the failure as JSON unless an answer was written."""
    asked = any(len(word) > len("--") and "--json".startswith(word) for word in arguments)
    if asked and not _Stdout.written and arguments[0] not in STARTS:
        from ..operator import render, report

        _write(render.as_json(report.Unanswered(failed=render.failed(error))))


def _fitting(text: str) -> str:
    """Cut a text to the terminal's height; keep its beginning and its last line."""
    import shutil

    lines = text.splitlines(keepends=True)
    room = shutil.get_terminal_size().lines - 1  # the last line is the cursor's
    more = len(lines) - room + 1
    if more <= 1 or room < 3:  # noqa: PLR2004  a smaller terminal would show nothing
        return text
    said = f"({more} more lines; --service NAME shows less)\n"
    return "".join([*lines[: room - 2], said, lines[-1]])


def _width() -> int | None:
    import shutil
    import sys

    return shutil.get_terminal_size().columns if _is_terminal(sys.stdout) else None


def _is_terminal(stream: "TextIO | None") -> bool:
    return stream is not None and stream.isatty()  # None if its descriptor was closed


def _ask(question: str) -> bool:
    import os
    import sys
    from textwrap import wrap

    try:
        width = os.get_terminal_size(2).columns or 80
    except OSError:  # stderr is not a terminal
        width = 80
    lines: list[str] = []
    for line in f"{question} [yes/no]".split("\n"):
        drawn = "\x1b" in line or len(line) <= width  # keep a table's line
        parts = wrap(line, width, break_long_words=False, break_on_hyphens=False)
        lines += [line] if drawn else parts
    sys.stderr.write("\n".join(lines) + " ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() == "yes"


def _write(text: str, *, clear: bool = False) -> bool:
    """Write to stdout; return whether somebody reads it. ``clear`` clears the terminal first."""
    import io
    import os
    import sys

    from ..config.environment import Environment

    if sys.stdout is None:
        return False
    term = Environment.of_container().get("TERM")
    if clear and _width() and term not in ("dumb", "unknown"):
        text = CLEAR + _fitting(text)
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):  # the locale may lack a name's characters
            sys.stdout.reconfigure(errors="backslashreplace")
            if not sys.stdout.encoding.lower().startswith("utf"):
                text = text.replace("─", "-")
        _Stdout.written = True
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter's last flush would report the broken pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return False
    except Terminated:
        # The interpreter's last flush would block again on a stuck reader.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise
    return True


def _report(error: EntrypointError | Terminated) -> None:
    progress.failed(error.step, error.exit_code, error.message)
    fields: dict[str, object] = {"remedy": error.remedy} if error.remedy else {}
    fields |= {**error.fields, "exit_code": error.exit_code}
    if error.elapsed_s is not None:
        fields["elapsed_s"] = error.elapsed_s
    gone = isinstance(error, Terminated)
    log.event("warning" if gone else "error", f"{error.step}.failed", error=error.message, **fields)
