"""pg_dump and pg_restore: found, checked, and run so that nobody sees a password."""

import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from ... import process
from ...environment import Environment
from ...errors import TransferError
from ...lines import shown
from ...postgres import sessions
from ...postgres.authorities import trusted
from ...postgres.conninfo import Conninfo

TIMEOUT_S: Final = 7 * 86400.0
"""Seconds that one tool may take: as long as it must."""

_TIMEOUT_SINCE: Final = 17
"""Since this version pg_restore sets transaction_timeout, unasked, and older servers refuse it."""

_STATISTICS_SINCE: Final = 18

EVENT_TRIGGERS_SINCE: Final = 17
"""Since this version a superuser's session can turn event triggers off."""

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


class Tools(NamedTuple):
    """Where the programs are, and their major version."""

    pg_dump: str
    pg_restore: str
    version: int
    target_version: int
    """The major version of the target's server."""

    ahead: bool
    """Whether they say what the target's server does not understand, but may leave out."""

    statistics: bool
    """Whether a dump can hold the planner's statistics, and the target's server take them."""


def find(environ: Environment, server_version: int, target_version: int) -> Tools:
    """Find both by PG_BINDIR or on PATH, no older than the servers, and of one version.

    Raises `TransferError`.
    """
    path = environ.get("PG_BINDIR") or environ.get("PATH")
    found = [shutil.which(name, path=path) for name in ("pg_dump", "pg_restore")]
    remedy = (
        "Install the PostgreSQL client of the server's major version or a later one, or set "
        "PG_BINDIR to the folder where it is."
    )
    if None in found:
        raise TransferError("pg_dump and pg_restore are not found", remedy=remedy)
    programs = [program for program in found if program is not None]
    versions = [_version(program, environ) for program in programs]
    major = max(server_version, target_version) // 10000
    if min(versions) < major or len(set(versions)) > 1:
        raise TransferError(
            f"pg_dump is of version {versions[0]}, pg_restore of {versions[1]}, the server of "
            f"{major}",
            remedy=remedy,
        )
    ahead = target_version // 10000 < _TIMEOUT_SINCE <= versions[0]
    statistics = min(target_version // 10000, versions[0]) >= _STATISTICS_SINCE
    there = target_version // 10000
    return Tools(programs[0], programs[1], versions[0], there, ahead, statistics)


def _version(program: str, environ: Environment) -> int:
    lines: list[str] = []
    argv = [program, "--version"]
    _succeed(argv, _run(argv, environ, "version", lines.append, []))
    match = _VERSION.search(" ".join(lines))
    if match is None:
        raise TransferError(
            f"{program} does not say its version", remedy="Set PG_BINDIR to PostgreSQL's own."
        )
    return int(match[1])


class Runner(NamedTuple):
    """Runs the tools against one server."""

    environ: Environment
    conninfo: Conninfo
    watches: Sequence[process.Watch]
    """The sessions without which the work makes no sense."""

    hear: Callable[[str], None]
    """Gets every line, masked."""

    options: str = ""
    """Settings of the tools' sessions, as PGOPTIONS has them."""

    def run(
        self, what: str, argv: Sequence[str], database: str, *, forgiving: bool = False
    ) -> None:
        """Run one to its end. Raises `TransferError`, or what a watch raises.

        When it is ``forgiving``, what a server before 17 cannot know is no error.
        """
        environ = self._environ(database)
        if not forgiving:
            _succeed(argv, _run(argv, environ, what, self.hear, self.watches))
            return
        errors = _Errors(self.hear)
        finished = _run(argv, environ, what, errors.hear, self.watches)
        if not errors.explain(finished):
            _succeed(argv, finished)

    def _environ(self, database: str) -> Environment:
        """The container's without its PG* variables, and the connection as libpq's own."""
        options = f"{self.conninfo.params.get('options', '')} {self.options}".strip()
        params = trusted({**self.conninfo.params, "dbname": database, "options": options})
        added = {
            variable: params[name] for name, variable in _VARIABLES.items() if params.get(name)
        }
        ours = [name for name in self.environ if name.startswith(("PG", "ENTRYPOINT_"))]
        ours += [name for name in self.environ if name.endswith(("_URL", "_URL_FILE"))]
        return self.environ.changed(without=ours, added=added)


@dataclass
class _Errors:
    """Ends pg_restore at its first error but for one that its later version makes itself."""

    tell: Callable[[str], None]
    forgiven: int = 0

    def hear(self, line: str) -> None:
        if line.startswith("pg_restore: error: "):
            if "transaction_timeout" not in line:
                raise _failed(line.removeprefix("pg_restore: error: "), [line])
            self.forgiven += 1
        self.tell(line)

    def explain(self, finished: process.Finished) -> bool:
        """Whether it did all the rest; it does not count the errors of its workers."""
        *_, last = ("", *finished.tail)
        return self.forgiven > 0 and finished.returncode == 1 and "errors ignored on" in last


_VARIABLES: Final[Mapping[str, str]] = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "passfile": "PGPASSFILE",
    "options": "PGOPTIONS",
    "channel_binding": "PGCHANNELBINDING",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "gssencmode": "PGGSSENCMODE",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


def _run(
    argv: Sequence[str],
    environ: Environment,
    what: str,
    hear: Callable[[str], None],
    watches: Sequence[process.Watch],
) -> process.Finished:
    name = sessions.application_name("transfer", f"/{what}-{secrets.token_hex(3)}")
    block = environ.changed(added={"PGAPPNAME": name, "LC_ALL": "C"}).block()
    program = process.Program(argv, block, f"PGAPPNAME={name}".encode(), TIMEOUT_S)
    told = process.Told(lambda _, line: hear(shown(line)), lambda *_: None, lambda _: None)
    return process.run(program, told, watches)


def _succeed(argv: Sequence[str], finished: process.Finished) -> None:
    if finished.returncode:
        tool, last = Path(argv[0]).name, " · ".join(finished.tail[-3:])
        raise _failed(f"{tool} exited with code {finished.returncode}: {last}", finished.tail)


def _failed(what: str, tail: Sequence[str]) -> TransferError:
    return TransferError(
        what,
        remedy="Correct what it says and run the transfer again; the source is as it was.",
        tail=list(tail),
    )
