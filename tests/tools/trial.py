"""Starts releases of a service whose push is a tool's, and says what came of it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from psycopg import sql

from tests.support.program import toml, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.support.program import Program
    from tests.support.stage import Stage
    from tests.tools.tool import Tool

USERS = [(1, "ann", "x"), (2, "bob", "x")]
"""The rows of rpg_users, before and after whatever is done."""

_LOOK = """
select c.relname, array_agg(a.attname order by a.attnum) from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind = 'r' and left(c.relname, 4) = 'rpg_' group by 1
"""

ONE = {"rpg_users": ["id", "name", "email"]}
MORE = {"rpg_users": ["id", "name", "email", "nick"], "rpg_logs": ["id"]}
DROPPED = {"rpg_users": ["id", "name"]}

WORDS = {
    "reported an error": "error",
    "asked a question and had no terminal": "asked",
    "reported no success": "silent",
    "stopped before a change that loses data": "not allowed",
}
"""What a verdict says, as the table says it."""


class Templates(Protocol):
    """Gives the name of a database with `ONE` and `USERS` as a tool made it."""

    def __call__(self, tool: Tool) -> str:
        """The same one every time."""


class Begin(Protocol):
    """Gives a service with a tool, which has no database yet."""

    def __call__(self, tool: Tool) -> Trial:
        """Nothing is started yet."""


class Ended(NamedTuple):
    """A start that came to its end."""

    program: Program
    code: int
    tool: Tool

    @property
    def push(self) -> dict[str, Any]:
        """What is told of the push."""
        [event] = self.program.all("push.finished") + self.program.all("push.failed")
        return event

    @property
    def said(self) -> list[str]:
        """The lines of the push."""
        return [event["line"] for event in self.program.all("push.printed")]

    @property
    def cell(self) -> str:
        """The tool's exit code, ours, and why in a word, unless the tool or a signal said it."""
        output, error = self.push["output"], self.push.get("error", "")
        if (output == f"{self.tool.name}: succeeded" and not error) or "by signal" in error:
            word = ""
        elif "entrypoint refuses to lose" in error or "the guard refused the push" in error:
            word = "refused"
        else:
            said = output.removeprefix(f"{self.tool.name} ").partition(":")[0]
            word = WORDS.get(said, said)
        return f"{self.push['returncode']} → {self.code} {word}".rstrip()


@dataclass
class Trial:
    """One service with one tool."""

    stage: Stage
    tool: Tool
    templates: Templates
    tmp_path: Path
    registered: bool = True
    """Whether the registry has the service, and so its prefix."""

    def __post_init__(self) -> None:
        self.stage.environ |= {"ENTRYPOINT_SKIP": "seed", **self.tool.environ}
        self.stage.push = list(self.tool.push)

    def deployed(self) -> None:
        """The service was here before: its database has a table with rows, and a guard."""
        stage = self.stage
        names = (stage.database, self.templates(self.tool), stage.user)
        create = sql.SQL("create database {} template {} owner {}")
        close = sql.SQL("revoke connect on database {} from public")
        with stage.server.connect() as connection:
            connection.execute(create.format(*map(sql.Identifier, names)))
            connection.execute(close.format(sql.Identifier(stage.database)))
        stage.environ["ENTRYPOINT_ADMIN_URL"] = stage.server.url()

    def begin(self, *steps: str) -> Program:
        """Start the release with these steps, whose image has nothing of another's."""
        stage = self.stage
        release = "-".join(steps) or "none"
        stage.directory = self.tmp_path / release
        if not stage.directory.exists():
            stage.directory.mkdir()
            self.tool.lay(stage.directory, *steps)
            row: dict[str, object] = {"database": stage.database, "prefixes": ["rpg_"]}
            (stage.directory / "services.toml").write_text(toml({"demo": row}))
        stage.environ["ENTRYPOINT_RELEASE"] = release
        if self.registered:
            stage.environ["ENTRYPOINT_SERVICES"] = "services.toml"
        return stage.start("echo", "served")

    def ended(self, program: Program) -> Ended:
        """Wait for its end. The service is started if and only if the exit code is 0."""
        code = program.wait()
        served = program.stdout == b"served\n"
        assert served == (code == 0) == ("handoff.executed" in program.names()), program.output
        assert code == 0 or program.one("push.failed")["remedy"], program.output
        return Ended(program, code, self.tool)

    def start(self, *steps: str) -> Ended:
        """Start a release once, to the end."""
        return self.ended(self.begin(*steps))

    def tables(self) -> dict[str, list[str]]:
        """The service's tables, and their columns."""
        with self.stage.connect() as connection:
            return dict(connection.execute(_LOOK).fetchall())

    def users(self) -> list[tuple[Any, ...]]:
        """The rows of rpg_users, without columns that came later."""
        with self.stage.connect() as connection:
            query = "select id, name, email from rpg_users order by id"
            return connection.execute(query).fetchall()

    def killed(self, *steps: str, signum: signal.Signals = signal.SIGKILL) -> Ended:
        """Start a release, and kill all of its push when that waits to add a column."""
        with self.stage.connect() as reader, reader.transaction():
            reader.execute("select from rpg_users")
            program = self.begin(*steps)
            until(self._altering, "the push waits for the table")
            for pid in _pushes(self.stage.directory):
                os.kill(pid, signum)
            until(lambda: not self._altering(), "its session is ended")
        return self.ended(program)

    def _altering(self) -> list[Any]:
        return [row for row in self.stage.sessions() if "alter table" in row[3].lower()]


def for_any_driver(connection: psycopg.Connection[Any]) -> None:
    """Give the roles that a session makes the usual rounds: dbmate's driver takes no fewer."""
    rounds = "select set_config(name, '4096', false) from pg_settings where name = %s"
    connection.execute(rounds, ["scram_iterations"])


def _pushes(directory: Path) -> Iterator[int]:
    """The processes of a push in a folder, which has the name that the start gives its sessions."""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cwd").readlink() == directory:
                mark = b"PGAPPNAME=entrypoint"
                if any(mark in each for each in (folder / "environ").read_bytes().split(b"\0")):
                    yield int(folder.name)
        except OSError:
            continue
