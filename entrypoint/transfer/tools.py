"""pg_dump and pg_restore: find them, check them, and run them without showing a password."""

import re
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from ..config.conninfo import PASSED_ON, Conninfo
from ..config.environment import Environment
from ..errors import TransferError
from ..postgres import opening
from ..postgres.authorities import trusted
from ..postgres.sql import quoted
from ..process import child
from ..process.output import shown

TIMEOUT_S: Final = 7 * 86400.0  # seconds that one tool may take: a week, so as long as it must
_TIMEOUT_SINCE: Final = 17  # pg_restore sets transaction_timeout, which older servers refuse
_STATISTICS_SINCE: Final = 18
MAX_ERRORS: Final = 5  # errors of one tool to report
EVENT_TRIGGERS_SINCE: Final = 17  # a superuser's session can turn event triggers off
_EXCLUDE_EXTENSION_SINCE: Final = 17
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


class Tools(NamedTuple):
    """The paths of the programs, and their major version."""

    pg_dump: str
    pg_restore: str
    version: int
    target_version: int  # the major version of the target's server
    ahead: bool  # whether they set parameters that the target's server does not know nor need
    statistics: bool  # whether dumps have the planner's, and the target's server takes them

    def without_extensions(self, left: Collection[str]) -> list[str]:
        """The options of pg_dump that leave extensions out; older versions dump all of them.

        With ``--extension`` a dump would have nothing else that has no schema: no large objects,
        casts or publications.
        """
        since = self.version >= _EXCLUDE_EXTENSION_SINCE
        return [f"--exclude-extension={quoted(name)}" for name in left] if since else []


def find(environ: Environment, server_version: int, target_version: int) -> Tools:
    """Find both, of one version, no older than the servers, or raise `TransferError`."""
    path = environ.get("PG_BINDIR") or environ.get("PATH")
    names = "pg_dump", "pg_restore"
    programs = [program for name in names if (program := shutil.which(name, path=path))]
    remedy = (
        "Install the PostgreSQL client of the server's major version or a later one, or set "
        "PG_BINDIR to its folder."
    )
    if len(programs) < len(names):
        raise TransferError("the transfer cannot find pg_dump and pg_restore", remedy=remedy)
    versions = [_version(program, environ) for program in programs]
    major = max(server_version, target_version) // 10000
    if min(versions) < major or len(set(versions)) > 1:
        raise TransferError(
            f"pg_dump has version {versions[0]}, pg_restore {versions[1]}, and the server {major}",
            remedy=remedy,
        )
    there = target_version // 10000
    ahead = there < _TIMEOUT_SINCE <= versions[0]
    statistics = min(there, versions[0]) >= _STATISTICS_SINCE
    return Tools(programs[0], programs[1], versions[0], there, ahead, statistics)


def _version(program: str, environ: Environment) -> int:
    argv = [program, "--version"]
    said = Said(lambda _: None)
    finished = _run(argv, environ, "version", _told(said.hear), [])
    if finished.returncode:
        _fail(argv, finished, said)
    match = _VERSION.search(" ".join(said.lines))
    if match is None:
        raise TransferError(
            f"{program} does not print its version",
            remedy="Set PG_BINDIR to the folder of PostgreSQL's own.",
        )
    return int(match[1])


class Runner(NamedTuple):
    """Runs the tools against one server."""

    environ: Environment
    conninfo: Conninfo
    watches: Sequence[child.Watch]  # the sessions that the work depends on
    hear: Callable[[str], None]  # gets every line, masked
    options: str = ""  # settings of the tools' sessions, in the form of PGOPTIONS
    silent: Callable[[float], None] | None = None  # gets the seconds without a line

    def run(
        self,
        what: str,
        argv: Sequence[str],
        database: str,
        *,
        forgiving: bool = False,
        gathering: bool = False,
    ) -> list["Complaint"]:
        """Run one tool to its end. Raises `TransferError`, or what a watch raises.

        ``forgiving`` ignores errors about parameters that a server before 17 does not know.
        ``gathering`` returns the complaints of a restore, and then ignores its exit code.
        """
        environ = self._environ(database)
        said = Said(self.hear, forgiving=forgiving, first=forgiving and not gathering)
        finished = _run(argv, environ, what, _told(said.hear, self.silent), self.watches)
        if finished.returncode and not (forgiving and said.forgiven_all(finished)):
            if gathering and finished.returncode > 0 and said.complaints:
                return said.complaints
            _fail(argv, finished, said)
        return []

    def _environ(self, database: str) -> Environment:
        """The container's environment without PG* and *_URL, with the connection for libpq."""
        options = f"{self.conninfo.params.get('options', '')} {_OPTIONS} {self.options}".strip()
        params = trusted({**self.conninfo.params, "dbname": database, "options": options})
        # A variable's name is PG and the parameter's in capitals, without underscores.
        given = {name: params[name] for name in PASSED_ON - _WITHOUT if params.get(name)}
        added = {f"PG{name.replace('_', '').upper()}": value for name, value in given.items()}
        added["PGDATABASE"] = params["dbname"]
        ours = [name for name in self.environ if name.startswith(("PG", "ENTRYPOINT_"))]
        ours += [name for name in self.environ if name.endswith(("_URL", "_URL_FILE"))]
        return self.environ.changed(without=ours, added=added)


class Complaint(NamedTuple):
    """An error of a tool."""

    entry: int | None  # the dump's entry that it is about
    error: str  # in the words of the server, such as `ERROR: no such thing`, or of the tool
    details: tuple[str, ...]  # the server's other lines, with labels; a DETAIL may contain a row

    def words(self) -> str:
        """The text that every log may contain, because no row is in it."""
        return " ".join((self.error, *(d for d in self.details if not d.startswith("DETAIL:"))))


# A statement follows, whose literals may contain rows and passwords.
_STATEMENT = re.compile(r"(?:error|detail|hint): (?:query|command) was", re.IGNORECASE)
_PROGRAM = re.compile(r"pg_(?:dump|restore): (.*)")
_ABOUT = re.compile(r"from TOC entry (\d+);")


@dataclass
class Said:
    """Listens to a tool: keeps its complaints, and passes on all but statements and rows.

    Lines that begin with the tool's name are its own words. Below an error come the server's, and
    the statement that failed.
    """

    tell: Callable[[str], None]
    forgiving: bool = False  # whether to ignore an error about a parameter unknown to the server
    first: bool = False  # whether to raise `TransferError` at the first complaint
    complaints: list[Complaint] = field(default_factory=list)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=child.TAIL_LINES))  # passed on
    _forgiven: int = 0
    _entry: int | None = None
    _open: bool = False

    def hear(self, line: str) -> None:
        """Take one line. Raises `TransferError`."""
        match = _PROGRAM.match(line)
        if match is None:
            if self._open:
                self._below(line)
            elif not self.complaints:  # another program's, such as the loader's
                self._told(line)
            return
        self._open = False
        if not _STATEMENT.match(match[1]):
            self._told(line)
            self._own(match[1])

    def _told(self, line: str) -> None:
        self.lines.append(line)
        self.tell(line)

    def _own(self, words: str) -> None:
        if about := _ABOUT.match(words):
            self._entry = int(about[1])
        if not words.startswith("error: "):
            return
        error = words.removeprefix("error: ").removeprefix("could not execute query: ")
        if self.forgiving and 'parameter "transaction_timeout"' in error:
            self._forgiven += 1
            return
        self.complaints.append(Complaint(self._entry, error, ()))
        self._open = True
        if self.first:
            raise _failed(error, list(self.lines))

    def _below(self, line: str) -> None:
        """Keep the server's lines below an error, up to the statement."""
        if line.startswith("Command was: "):
            self._open = False
        elif line.startswith(("DETAIL:  ", "HINT:  ", "connection to server ")):
            last = self.complaints[-1]
            self.complaints[-1] = last._replace(details=(*last.details, line))

    def forgiven_all(self, finished: child.Finished) -> bool:
        """Whether the tool did all but the forgiven; it does not count its workers' errors."""
        last = self.lines[-1] if self.lines else ""
        done = finished.returncode == 1 and "errors ignored on" in last
        return done and self._forgiven > 0 and not self.complaints


# Settings that the tools leave alone, and that a role or a database may have for its services.
_OPTIONS: Final = "-c quote_all_identifiers=off -c idle_session_timeout=0"
# Parameters that libpq reads from no variable; keepalives only notice a server that vanished.
_WITHOUT: Final = {
    *("dbname", "sslpassword", "tcp_user_timeout"),
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
}


def _told(
    hear: Callable[[str], None], silent: Callable[[float], None] | None = None
) -> child.Callbacks:
    def silence(seconds: float, _: set[int]) -> None:
        if silent:
            silent(seconds)

    return child.Callbacks(lambda _, line: hear(shown(line)), silence, lambda _: None)


def _run(
    argv: Sequence[str],
    environ: Environment,
    what: str,
    told: child.Callbacks,
    watches: Sequence[child.Watch],
) -> child.Finished:
    name = opening.application_name("transfer", f"/{what}-{secrets.token_hex(3)}")
    block = environ.changed(added={"PGAPPNAME": name, "LC_ALL": "C"}).block()
    program = child.Program(argv, block, f"PGAPPNAME={name}".encode(), TIMEOUT_S, ports=False)
    return child.run(program, told, watches)


def _fail(argv: Sequence[str], finished: child.Finished, said: Said) -> NoReturn:
    tool, lines = Path(argv[0]).name, list(said.lines)
    errors = list(dict.fromkeys(each.words() for each in said.complaints))[:MAX_ERRORS]
    errors += [line for line in lines if "FATAL:" in line and not any(e in line for e in errors)]
    rest = [line for line in lines[-3:] if not any(each in line for each in errors)]
    what = " · ".join([*errors, *rest])
    raise _failed(f"{tool} exited with code {finished.returncode}: {what}", lines)


def _failed(what: str, tail: Sequence[str]) -> TransferError:
    return TransferError(
        what,
        remedy="Fix what it reports, and run the transfer again; the source is unchanged.",
        tail=list(tail),
    )
