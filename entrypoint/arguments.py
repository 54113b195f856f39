"""What the command line understands. Not on a container start's way."""

import argparse
from typing import TYPE_CHECKING, Final, TypeAlias

from . import __version__

if TYPE_CHECKING:
    _Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  its only name

_SERVER: Final = (
    "The server is that of --server, ENTRYPOINT_ADMIN_URL or DATABASE_URL, in this order."
)

_CREATE: Final = """examples:
  entrypoint create --dry-run
  ENTRYPOINT_ADMIN_URL=postgresql://postgres:...@db/ entrypoint create
  entrypoint create --service gaqno-rpg-service
"""

_VERIFY: Final = """examples:
  entrypoint verify
  entrypoint verify --service gaqno-rpg-service --json
  entrypoint verify --strict --ignore metabase
"""

_STATUS: Final = """examples:
  entrypoint status
  entrypoint status --watch
  entrypoint status --json --service gaqno-sso-service
"""

_URL: Final = """examples:
  entrypoint url gaqno-rpg-service
  entrypoint url gaqno-rpg-service --env --show-password >> .env
"""

_TRANSFER: Final = """examples:
  entrypoint transfer gaqno-rpg-service --dry-run
  entrypoint transfer gaqno-rpg-service --allow fk:rpg_heroes_user_id_fkey --report moved.md
  entrypoint transfer gaqno-rpg-service --with drizzle.__drizzle_migrations --yes
  entrypoint transfer gaqno-rpg-service --undo
  entrypoint transfer gaqno-rpg-service --drop-quarantine
"""


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    top = argparse.ArgumentParser(
        prog="entrypoint",
        description="Starts a service on PostgreSQL: waits for the server, creates its database, "
        "pushes its schema, seeds its tenant, and becomes the service. For operators it says "
        "whether every table is where it belongs.",
        epilog="Settings come from the environment and entrypoint.toml; see the README.",
    )
    top.add_argument("--version", action="version", version=f"entrypoint {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="prepare, then exec the service: run -- COMMAND [ARG...]")
    run.add_argument("argv", nargs="+", metavar="COMMAND", help="the service, after --")
    commands.add_parser("prepare", help="everything but the service, for init containers and jobs")
    health = commands.add_parser("health", help="how the start or the service is, for probes")
    health.add_argument("--url", metavar="URL", help="in place of health.url")
    health.add_argument("--timeout", metavar="SECONDS", help="3 by default")
    create = _operators(commands, "create", "create every missing database", _CREATE)
    create.add_argument("--dry-run", action="store_true", help="only say what is missing")
    create.add_argument(
        "--no-isolate",
        dest="isolate",
        action="store_false",
        help="leave what is created open to every role",
    )
    verify = _operators(commands, "verify", "find what is not where it belongs", _VERIFY)
    verify.add_argument("--strict", action="store_true", help="exit 9 for notices too")
    verify.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="DATABASE",
        help="a database that belongs to no service and may be there; may be repeated",
    )
    status = _operators(commands, "status", "show each service's database", _STATUS)
    status.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=2.0,
        metavar="SECONDS",
        help="show it again and again, every 2 s",
    )
    _transfer(commands)
    url = _command(commands, "url", "print a service's DATABASE_URL", _URL)
    url.add_argument("service", metavar="SERVICE")
    _server(url)
    url.add_argument("--show-password", action="store_true", help="print it, do not mask it")
    url.add_argument("--env", action="store_true", help="as a line for an env file")
    completion = _command(commands, "completion", "print a shell's completion script", "")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    return top


def _transfer(commands: "_Commands") -> None:
    text = "move a service's objects out of a shared database"
    transfer = _command(commands, "transfer", text, _TRANSFER)
    transfer.add_argument("service", metavar="SERVICE")
    _server(transfer)
    transfer.add_argument(
        "--from",
        dest="database",
        default="postgres",
        metavar="DATABASE",
        help="where they are; postgres by default",
    )
    transfer.add_argument("--to", metavar="URL", help="another server for the target")
    transfer.add_argument(
        "--with",
        dest="extra",
        action="append",
        default=[],
        metavar="TABLE",
        help="a table that moves too, though its name does not say so; may be repeated",
    )
    transfer.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="an obstacle that is agreed to; may be repeated",
    )
    transfer.add_argument("--jobs", type=_jobs, default=2, metavar="N", help="2 by default")
    transfer.add_argument("--yes", action="store_true", help="do not ask")
    transfer.add_argument("--json", action="store_true", help="for machines")
    transfer.add_argument("--report", metavar="FILE", help="write what was done as Markdown")
    what = transfer.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="only say what would move")
    what.add_argument("--undo", action="store_true", help="put everything back")
    what.add_argument(
        "--drop-quarantine", action="store_true", help="remove what was moved from the source"
    )


def _command(commands: "_Commands", name: str, text: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}. {_SERVER}" if examples else text,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _server(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--server",
        metavar="URL",
        help="any URL of the server, its database is replaced; a password is safer in a variable",
    )


def _operators(
    commands: "_Commands", name: str, text: str, examples: str
) -> argparse.ArgumentParser:
    command = _command(commands, name, text, examples)
    _server(command)
    command.add_argument(
        "--service",
        action="append",
        default=[],
        metavar="NAME",
        help="only this service; may be repeated",
    )
    command.add_argument("--json", action="store_true", help="for machines")
    return command


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:  # noqa: PLR2004  what a person would watch
        raise argparse.ArgumentTypeError("must be a number of seconds from 0.1 to 3600")
    return seconds


def _jobs(text: str) -> int:
    try:
        jobs = int(text)
    except ValueError:
        jobs = 0
    if not 1 <= jobs <= 64:  # noqa: PLR2004  more would only wait for each other
        raise argparse.ArgumentTypeError("must be a number from 1 to 64")
    return jobs
