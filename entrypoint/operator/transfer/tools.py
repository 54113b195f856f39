"""pg_dump and pg_restore: found, checked, and run so that nobody sees a password."""

import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ... import process
from ...environment import Environment
from ...errors import TransferError
from ...postgres import sessions
from ...postgres.conninfo import Conninfo

TIMEOUT_S: Final = 7 * 86400.0
"""Seconds that one tool may take: as long as it must."""

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


class Tools(NamedTuple):
    """Where the programs are, and their major version."""

    pg_dump: str
    pg_restore: str
    version: int


def find(environ: Environment, server_version: int) -> Tools:
    """Find both by PG_BINDIR or on PATH, no older than the server, and of one version.

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
    major = server_version // 10000
    if min(versions) < major or len(set(versions)) > 1:
        raise TransferError(
            f"pg_dump is of version {versions[0]}, pg_restore of {versions[1]}, the server of "
            f"{major}",
            remedy=remedy,
        )
    return Tools(programs[0], programs[1], versions[0])


def _version(program: str, environ: Environment) -> int:
    lines: list[str] = []
    _run([program, "--version"], environ, "version", lines.append, [])
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

    def run(self, what: str, argv: Sequence[str], database: str) -> None:
        """Run one to its end. Raises `TransferError`, or what a watch raises."""
        _run(argv, self._environ(database), what, self.hear, self.watches)

    def _environ(self, database: str) -> Environment:
        """The container's without its PG* variables, and the connection as libpq's own."""
        params = {**self.conninfo.params, "dbname": database}
        added = {
            variable: params[name] for name, variable in _VARIABLES.items() if params.get(name)
        }
        ours = [name for name in self.environ if name.startswith(("PG", "ENTRYPOINT_"))]
        ours += [name for name in self.environ if name.endswith(("_URL", "_URL_FILE"))]
        return self.environ.changed(without=ours, added=added)


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
) -> None:
    name = sessions.application_name("transfer", f"/{what}-{secrets.token_hex(3)}")
    block = environ.changed(added={"PGAPPNAME": name, "LC_MESSAGES": "C"}).block()
    program = process.Program(argv, block, f"PGAPPNAME={name}".encode(), TIMEOUT_S)
    told = process.Told(lambda _, line: hear(line), lambda *_: None, lambda _: None)
    finished = process.run(program, told, watches)
    if finished.returncode:
        tool = Path(argv[0]).name
        raise TransferError(
            f"{tool} exited with code {finished.returncode}: {' · '.join(finished.tail[-3:])}",
            remedy="Correct what it says and run the transfer again; the source is as it was.",
            tail=list(finished.tail),
        )
