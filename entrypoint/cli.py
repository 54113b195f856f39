"""The command line: commands, the one error boundary, exit codes. The only writer of stdout."""

from typing import TYPE_CHECKING, Final

from . import __version__, log
from .errors import EntrypointError, Terminated

if TYPE_CHECKING:
    import argparse

BUG: Final = 1
USAGE: Final = 2


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code; does not return when a service was started."""
    _configure_log()
    try:
        return _dispatch(arguments)
    except (EntrypointError, Terminated) as error:
        _report(error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  the boundary: a bug must be seen, and masked
        log.crash(error)
        return BUG


def _configure_log() -> None:
    from .environment import Environment

    form, level = log.settings(Environment.of_container())
    log.configure(form=form, level=level)


def _dispatch(arguments: list[str]) -> int:
    # Every container start passes here, so argparse is left to those who ask for it.
    if arguments[:2] == ["run", "--"] and arguments[2:]:
        command, argv = "run", arguments[2:]
    else:
        try:
            parsed = _parser().parse_args(arguments)
        except SystemExit as stop:  # argparse's own, after its message
            return USAGE if stop.code else 0
        command, argv = parsed.command, getattr(parsed, "argv", [])
    from .startup import start

    if command == "run":
        start.run(tuple(argv))
    start.prepare()
    return 0


def _parser() -> "argparse.ArgumentParser":
    import argparse

    parser = argparse.ArgumentParser(
        prog="entrypoint",
        description="Starts a service on PostgreSQL: waits for the server, creates its database, "
        "pushes its schema, seeds its tenant, and becomes the service.",
        epilog="Settings come from the environment and entrypoint.toml; see the README.",
    )
    parser.add_argument("--version", action="version", version=f"entrypoint {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="prepare, then exec the service: run -- COMMAND [ARG...]")
    run.add_argument("argv", nargs="+", metavar="COMMAND", help="the service, after --")
    commands.add_parser("prepare", help="everything but the service, for init containers and jobs")
    return parser


def _report(error: EntrypointError | Terminated) -> None:
    """Log a failure once, under the name of its step."""
    fields: dict[str, object] = {"exit_code": error.exit_code}
    if error.elapsed_s is not None:
        fields["elapsed_s"] = error.elapsed_s
    if isinstance(error, Terminated):
        import signal

        name = signal.Signals(error.signum).name
        log.event("warning", f"{error.step}.failed", error=f"ended by {name}", **fields)
        return
    log.event(
        "error",
        f"{error.step}.failed",
        error=error.message,
        remedy=error.remedy,
        **{**error.fields, **fields},
    )
