"""The arguments of every command, for argparse. A container start does not import this module."""

import argparse
import re
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from .. import __version__
from ..errors import UsageError

if TYPE_CHECKING:
    _Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  its only name

_SERVER: Final = (
    "The command looks for the server in --server, ENTRYPOINT_ADMIN_URL and DATABASE_URL, in this "
    "order."
)

_CODES: Final = {  # exit codes besides 0, 1 for a bug and 128+n for signal n
    2: "wrong usage",
    3: "the configuration is missing or wrong: the URL, the registry, a service's name",
    4: "a server or a database cannot be reached",
    5: "a server or a database refuses",
    6: "the lock was not free in time, or was lost",
    7: "the push failed",
    8: "the seed failed",
    9: "something is misplaced; with --strict a notice is enough",
    10: "the transfer failed or met an obstacle; its answer lists what had moved before",
    11: "a start would create, push or seed something; nothing failed",
    126: "the service cannot be executed",
    127: "the service is not found",
}

_EXAMPLES: Final = {
    "run": "entrypoint run -- node dist/main.js",
    "prepare": "entrypoint prepare",
    "check": """entrypoint check
  entrypoint check -- node dist/main.js
  entrypoint check --github""",
    "plan": """entrypoint plan
  entrypoint plan --json""",
    "health": """entrypoint health
  entrypoint health --url http://127.0.0.1:3000/health --timeout 2""",
    "create": """entrypoint create --dry-run
  ENTRYPOINT_ADMIN_URL=postgresql://postgres:...@db/ entrypoint create
  entrypoint create --service gaqno-rpg-service
  entrypoint create --sql""",
    "verify": """entrypoint verify
  entrypoint verify --service gaqno-rpg-service --json
  entrypoint verify --strict --ignore metabase
  entrypoint verify --sort size
  entrypoint verify --html strays.html
  entrypoint verify --sql""",
    "status": """entrypoint status
  entrypoint status --watch
  entrypoint status --fail --sort size
  entrypoint status --html status.html
  entrypoint status --json --service gaqno-sso-service""",
    "transfer": """entrypoint transfer gaqno-rpg-service --dry-run
  entrypoint transfer gaqno-rpg-service --allow view:rpg_v_users --report moved.md
  entrypoint transfer gaqno-rpg-service --with drizzle.__drizzle_migrations --yes
  entrypoint transfer gaqno-rpg-service --undo
  entrypoint transfer gaqno-rpg-service --drop-quarantine
  entrypoint transfer gaqno-rpg-service --drop-aside --dry-run""",
    "previews": """entrypoint previews
  entrypoint previews --service gaqno-rpg-service --drop 7
  entrypoint previews --drop-older-than 7d --yes
  entrypoint previews --service gaqno-rpg-service --drop-closed open.json --dry-run""",
    "url": """entrypoint url gaqno-rpg-service
  entrypoint url gaqno-rpg-service --env --show-password >> .env""",
    "env": """entrypoint env gaqno-rpg-service --platform coolify --show-password
  entrypoint env gaqno-rpg-service --platform swarm
  entrypoint env gaqno-rpg-service --show-password >> .env""",
    "completion": "entrypoint completion bash",
}

_OF_HEALTH: Final = """
exit codes:
  0    the service is healthy, or runs and has no URL to ask
  1    the service is not healthy, or not yet
"""

_FAILS: Final = "  9    with --fail: something needs attention\n"
PLATFORMS: Final = ("coolify", "compose", "swarm", "kubernetes")  # whose format `env` can print


class _Formatter(argparse.HelpFormatter):
    """Wraps sentences, but not examples, which people paste as one line."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for line in text.splitlines():
            if "entrypoint " in line and line.startswith("  "):
                lines.append(line)
                continue
            head = _CODES_INDENT if line.startswith("  ") else ""
            lines += textwrap.wrap(
                line, width, initial_indent=indent, subsequent_indent=indent + head
            ) or [""]
        return "\n".join(lines)


_CODES_INDENT: Final = " " * 7  # the column of the words beside an exit code


class _Misused(SystemExit):
    """argparse's exit, with the message that it printed."""

    def __init__(self, message: str, prog: str) -> None:
        super().__init__(UsageError.exit_code)
        self.message, self.prog = message, prog


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        try:
            super().error(message)
        except SystemExit:
            raise _Misused(message, self.prog) from None


def misused(stop: SystemExit) -> UsageError:
    """Return argparse's exit as an error; argparse has printed it already."""
    message, prog = "wrong usage", "entrypoint"
    if isinstance(stop, _Misused):
        message, prog = stop.message, stop.prog
    return UsageError(message, remedy=f"Read {prog} --help.")


VERIFY_SORTS: Final = ("database", "size", "name")
DOCS: Final = "https://github.com/gaqno/entrypoint/blob/main/docs"
STATUS_SORTS: Final = ("registry", "name", "size", "age")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top: argparse.ArgumentParser = _Parser(
        prog="entrypoint",
        description="Starts a service on PostgreSQL: waits for the server, creates its database, "
        "pushes its schema, seeds its tenant, and becomes the service. For operators it says "
        "whether every table is where it belongs.",
        epilog="Settings come from the environment and entrypoint.toml: "
        f"{DOCS}/reference/settings.md",
    )
    top.add_argument("--version", action="version", version=f"entrypoint {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    text = "prepare, then exec the service: run -- COMMAND [ARG...]"
    run = _command(commands, "run", text, _codes(2, 3, 4, 5, 6, 7, 8, 9, 126, 127))
    run.add_argument("argv", nargs="+", metavar="COMMAND", help="the service, after --")
    text = "do everything but exec the service, for init containers and jobs"
    _command(commands, "prepare", text, _codes(2, 3, 4, 5, 6, 7, 8, 9))
    _of_starts(commands)
    text = "report the health of the start or the service, for probes"
    health = _command(commands, "health", text, _OF_HEALTH)
    health.add_argument("--url", metavar="URL", help="the URL to ask in place of health.url")
    health.add_argument(
        "--timeout", metavar="SECONDS", help="how long the probe may take; 3 by default"
    )
    text = "create every missing database. A new one is UTF8 and closed to other roles"
    create = _operators(commands, "create", text, _codes(2, 3, 4, 5))
    create.add_argument("--dry-run", action="store_true", help="only list the missing databases")
    text = "leave new databases open to every role"
    create.add_argument("--no-isolate", dest="isolate", action="store_false", help=text)
    create.add_argument("--sql", action="store_true", help="print SQL for pgAdmin or psql instead")
    text = "find misplaced objects"
    verify = _operators(commands, "verify", text, _codes(2, 3, 4, 5, 9))
    verify.add_argument("--strict", action="store_true", help="exit 9 for notices too")
    instead = verify.add_mutually_exclusive_group()
    instead.add_argument("--sql", action="store_true", help="print SQL for pgAdmin or psql instead")
    _page(instead)
    _many(verify, "--ignore", "DATABASE", "a database of no service that may be on the server")
    _sort(verify, VERIFY_SORTS)
    text = (
        "show each service's database. A row has the size, tables and sessions, the last push, the "
        "seeded tenants, drift, who has the lock and what it does, who waits for locks, the oldest "
        "transaction, and transfers with what they keep"
    )
    status = _operators(commands, "status", text, _codes(2, 3, 4, 5) + _FAILS)
    _sort(status, STATUS_SORTS)
    once = status.add_mutually_exclusive_group()
    _page(once)
    fail = "exit 9 when something needs attention, and say what; ends --watch, too"
    status.add_argument("--fail", action="store_true", help=fail)
    once.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=2.0,
        metavar="SECONDS",
        help="repeat every 2 s until Ctrl-C, also while the server is away for a time",
    )
    _transfer(commands)
    _previews(commands)
    url = _command(commands, "url", "print a service's DATABASE_URL", _codes(2, 3))
    _of_service(url)
    url.add_argument("--env", action="store_true", help="print it as a line for an env file")
    text = "print every variable that a service needs, ready to paste"
    env = _command(commands, "env", text, _codes(2, 3))
    _of_service(env)
    env.add_argument(
        "--platform", choices=PLATFORMS, help="the platform's format; an env file by default"
    )
    text = "print a shell's completion script"
    completion = _command(commands, "completion", text, _codes(2))
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    return top


def _of_service(command: argparse.ArgumentParser) -> None:
    command.add_argument("service", metavar="SERVICE", help="its name in the registry")
    _server(command)
    show = "print the password, do not mask it"
    command.add_argument("--show-password", action="store_true", help=show)


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, by name."""
    [every] = [
        action.choices
        for action in parser()._actions  # noqa: SLF001  argparse has no public way to list them
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001  the same
    ]
    return dict(every)


def _sort(command: argparse.ArgumentParser, choices: tuple[str, ...]) -> None:
    default = choices[0]
    order = f"the order; {default} by default, size puts the largest first"
    order += ", age the oldest push" * ("age" in choices)
    command.add_argument("--sort", choices=choices, default=default, help=order)


def _many(
    command: "argparse._ActionsContainer",
    name: str,
    metavar: str,
    text: str,
    dest: str | None = None,
) -> None:
    text = f"{text}; may be repeated"
    command.add_argument(name, action="append", default=[], metavar=metavar, help=text, dest=dest)


def _transfer(commands: "_Commands") -> None:
    from ..transfer.command_lines import DATABASE, JOBS

    text = "move a service's objects out of a shared database"
    transfer = _command(commands, "transfer", text, _codes(2, 3, 4, 5, 10))
    transfer.add_argument("service", metavar="SERVICE", help="its name in the registry")
    _server(transfer)
    text = f"the database that has the objects; {DATABASE} by default"
    transfer.add_argument(
        "--from", dest="database", default=DATABASE, metavar="DATABASE", help=text
    )
    transfer.add_argument("--to", metavar="URL", help="the target's server, if it is another")
    text = "also move this table, whose name lacks the service's prefix, or this extension"
    _many(transfer, "--with", "NAME", text, dest="extra")
    _many(transfer, "--allow", "NAME", "go on despite this obstacle, or all")
    text = f"how many tables to move at once; {JOBS} by default"
    transfer.add_argument("--jobs", type=_jobs, default=JOBS, metavar="N", help=text)
    transfer.add_argument("--yes", action="store_true", help="do not ask")
    transfer.add_argument("--json", action="store_true", help="print one object of JSON")
    text = "write a report of the transfer, or of its plan, as Markdown"
    transfer.add_argument("--report", metavar="FILE", help=text)
    transfer.add_argument("--dry-run", action="store_true", help="only show the plan")
    what = transfer.add_mutually_exclusive_group()
    what.add_argument("--undo", action="store_true", help="put everything back")
    text = "remove the moved objects from the source"
    what.add_argument("--drop-quarantine", action="store_true", help=text)
    text = "remove the databases that moves and undos have put aside"
    what.add_argument("--drop-aside", action="store_true", help=text)


def _of_starts(commands: "_Commands") -> None:
    text = "find what is wrong with an image: its settings and what they name in it, and the "
    text += "service's command if it is given. Uses no network; what only a deployment knows, such "
    text += "as DATABASE_URL, may be missing"
    check = _command(commands, "check", text, _codes(2, 3))
    check.add_argument("argv", nargs="*", metavar="COMMAND", help="the service, after --")
    form = check.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one object of JSON")
    form.add_argument("--github", action="store_true", help="annotate a GitHub workflow's run")
    text = "tell what a start would do now, and why, without doing it: create the database, push, "
    text += "seed. Reads the start's own settings, and looks at the server once"
    plan = _command(commands, "plan", text, _codes(2, 3, 4, 5, 7, 11))
    plan.add_argument("--json", action="store_true", help="print one object of JSON")


def _previews(commands: "_Commands") -> None:
    text = "list the databases of previews, and drop those that nobody needs. The command drops "
    text += "only what carries the mark of a preview's start, and ends no session without --force"
    command = _operators(commands, "previews", text, _codes(2, 3, 4, 5))
    which = command.add_mutually_exclusive_group()
    text = "drop this preview's database of the services that --service names"
    _many(which, "--drop", "N", text)
    text = "drop those without a client whose last start is longer ago, such as 7d or 12h"
    which.add_argument("--drop-older-than", type=_age, metavar="AGE", help=text)
    text = "drop those of the services that --service names whose pull request is not in this file "
    text += "of the open ones: a number in each line, or JSON as gh pr list --json number writes it"
    which.add_argument("--drop-closed", metavar="FILE", help=text)
    text = "drop a database although it has clients, whose sessions the server ends"
    command.add_argument("--force", action="store_true", help=text)
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.add_argument("--dry-run", action="store_true", help="only show what would go")


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments of people's commands. Raises `SystemExit`, as argparse does."""
    found = parser().parse_args(arguments)
    numbered = found.command == "previews" and (found.drop or found.drop_closed is not None)
    if numbered and not found.service:
        # Six services in six repositories have six pull requests of one number.
        commands()["previews"].error("numbers belong to a repository: name its --service")
    return found


def _command(commands: "_Commands", name: str, text: str, codes: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=text.partition(". ")[0],
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"examples:\n  {_EXAMPLES[name]}\n{codes}",
        formatter_class=_Formatter,
    )


def _codes(*codes: int) -> str:
    lines = "".join(f"  {code:<4} {_CODES[code]}\n" for code in codes)
    return f"\nexit codes; 0 is success:\n{lines}"


def _server(command: argparse.ArgumentParser) -> None:
    command.description = f"{command.description} {_SERVER}"
    text = "the server's URL, with any database; a password is safer in a variable"
    command.add_argument("--server", metavar="URL", help=text)


def _operators(commands: "_Commands", name: str, text: str, codes: str) -> argparse.ArgumentParser:
    command = _command(commands, name, text, codes)
    _server(command)
    _many(command, "--service", "NAME", "only this service")
    command.add_argument("--json", action="store_true", help="print one object of JSON")
    return command


def _page(command: "argparse._MutuallyExclusiveGroup") -> None:
    command.add_argument(
        "--html", type=_file, metavar="FILE", help="also write a page for a browser"
    )


def _file(text: str) -> str:
    if text in ("", "-"):
        raise argparse.ArgumentTypeError("must be a file; the answer goes to stdout")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:  # noqa: PLR2004  the intervals that a person would watch
        raise argparse.ArgumentTypeError("must be a number of seconds from 0.1 to 3600")
    return seconds


def _age(text: str) -> float:
    from ..operator.previews import seconds

    try:
        return seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be an age such as 7d or 12h") from None


def _jobs(text: str) -> int:
    try:
        jobs = int(text)
    except ValueError:
        jobs = 0
    if not 1 <= jobs <= 64:  # noqa: PLR2004  more jobs would only wait for each other
        raise argparse.ArgumentTypeError("must be a number from 1 to 64")
    return jobs


def completion(shell: str) -> str:
    """A shell's completion script; leaves out services whose names a shell could evaluate."""
    from ..config.environment import Environment
    from ..config.reader import Sources

    registry = Sources(Environment.of_container()).registry()
    words = _words([name for name in registry if re.fullmatch(r"[A-Za-z0-9_.-]+", name)])
    if shell == "fish":
        return _fish(words)
    return "autoload -U +X bashcompinit && bashcompinit\n" * (shell == "zsh") + _bash(words)


def _words(services: list[str]) -> Mapping[str, list[str]]:
    """The words that may follow each command; the key "" has the commands."""
    every = commands()
    words = {"": sorted(every)}
    for name, command in every.items():
        options = [
            option
            for action in command._actions  # noqa: SLF001  argparse has no public way to list them
            for option in (*action.option_strings, *(action.choices or ()))
            if len(option) > 2  # noqa: PLR2004  leaves out -h for --help
        ]
        names = services if {"--service", "--server"} & {*options} else []
        words[name] = [*options, *names]
    return words


def _bash(words: Mapping[str, list[str]]) -> str:
    cases = "\n".join(
        f"    {name or chr(39) * 2}) words='{' '.join(each)}' ;;" for name, each in words.items()
    )
    return f"""_entrypoint() {{
  local words='' command=''
  [ "$COMP_CWORD" -gt 1 ] && command="${{COMP_WORDS[1]}}"
  case "$command" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -F _entrypoint entrypoint
"""


def _fish(words: Mapping[str, list[str]]) -> str:
    lines = ["complete -c entrypoint -f"]
    for name, each in words.items():
        when = f"__fish_seen_subcommand_from {name}" if name else "__fish_use_subcommand"
        lines.append(f"complete -c entrypoint -n '{when}' -a '{' '.join(each)}'")
    return "\n".join(lines) + "\n"
