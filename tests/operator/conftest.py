"""What operators' commands are tested with: a server of their own, and the command as a child."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from entrypoint.postgres.transfers import ASIDE
from tests.support.program import Program
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SERVICES = {
    "gaqno-sso-service": "gaqno_sso_db",
    "gaqno-ai-service": "gaqno_ai_db",
    "gaqno-finance-service": "gaqno_finance_db",
    "gaqno-pdv-service": "gaqno_pdv_db",
    "gaqno-rpg-service": "gaqno_rpg_db",
    "gaqno-omnichannel-service": "gaqno_omnichannel_db",
}
"""The shipped registry's, with their databases."""

RPG, RPG_DB = "gaqno-rpg-service", "gaqno_rpg_db"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Answer:
    """What a command that ended had to say."""

    code: int
    out: str
    err: str
    events: list[dict[str, Any]]

    @property
    def json(self) -> dict[str, Any]:
        """Its answer to --json."""
        answer: dict[str, Any] = json.loads(self.out)
        return answer

    @property
    def findings(self) -> Rows:
        """What verify found."""
        found: Rows = self.json["findings"]
        return found

    @property
    def rows(self) -> Rows:
        """What status says of each service."""
        rows: Rows = self.json["services"]
        return rows

    @property
    def obstacles(self) -> list[str]:
        """The names of what stood in a transfer's way, as its only event tells them."""
        return [each["name"] for each in self.failed()["obstacles"]]

    def kinds(self, database: str | None = None) -> list[str]:
        """What verify found, of one database or of all."""
        return [f["finding"] for f in self.findings if database in (None, f["database"])]

    def failed(self) -> dict[str, Any]:
        """The only event on stderr but for those that tell how far it came."""
        said = [event for event in self.events if event["level"] != "info"]
        assert len(said) == 1, self.err
        return said[0]


@dataclass
class Operator:
    """Somebody with a folder, who runs commands against a server."""

    server: Server
    directory: Path
    url: str
    started: list[Program] = field(default_factory=list)

    def start(
        self,
        *words: str,
        environ: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401  Popen's own
    ) -> Program:
        """Run a command without waiting for it; `environ` comes on top of DATABASE_URL."""
        variables = {"PATH": os.environ["PATH"], "DATABASE_URL": self.url, **(environ or {})}
        kept = {name: value for name, value in variables.items() if value}
        program = Program.start(*words, environ=kept, directory=self.directory, **options)
        self.started.append(program)
        return program

    def run(self, *words: str, environ: Mapping[str, str] | None = None) -> Answer:
        """Run a command to its end. An empty variable is not set at all."""
        return answer(self.start(*words, environ=environ))

    def registry(self, *services: tuple[str, str, list[str]], **keys: str) -> dict[str, str]:
        """Write a registry of one's own: name, database, prefixes; the variable that names it."""
        path = self.directory / "services.toml"
        lines = []
        for name, database, prefixes in services:
            row = {"database": database, "prefixes": prefixes, **keys}
            lines += [f"[{json.dumps(name)}]", *(f"{k} = {json.dumps(v)}" for k, v in row.items())]
        path.write_text("\n".join(lines))
        return {"ENTRYPOINT_SERVICES": path.name}

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run SQL as the superuser; its rows."""
        return execute(self.server, statement, database)


def answer(program: Program) -> Answer:
    """Wait for a command's end, and read what it said; a traceback is a bug."""
    code = program.wait()
    assert code != 1, program.output
    return Answer(code, program.stdout.decode(), program.stderr.decode(), program.events)


def execute(server: Server, statement: str, database: str = "postgres") -> list[Any]:
    """Run SQL as the superuser; its rows."""
    with server.connect(database) as connection:
        cursor = connection.execute(statement.encode())
        # Rows without columns are rows.
        return cursor.fetchall() if cursor.description is not None else []


def put_aside(server: Server, own: str, name: str) -> None:
    """Create a database that a transfer of ``own`` seems to have put aside."""
    note = json.dumps({"database": own, "name": name, "at": "2026-11-29T21:00:00Z"})
    execute(server, f"create database {name}")
    execute(server, f"comment on database {name} is '{ASIDE}{note}'")


def create_database(server: Server, name: str, more: str = "") -> None:
    """Create a database that is closed to PUBLIC, as the program does."""
    with server.connect() as connection:
        for statement in (
            "create database {} " + more,
            "revoke connect on database {} from public",
        ):
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def create_role(server: Server, name: str, attributes: str = "") -> str:
    """Create a login role that may not connect anywhere, and return its URL of `postgres`."""
    with server.connect() as connection:
        statement = sql.SQL("create role {} login password 'its-password' " + attributes)
        connection.execute(statement.format(sql.Identifier(name)))
    return server.url("postgres", name, "its-password")


@pytest.fixture(scope="module")
def fleet() -> Iterator[Server]:
    """A server for one module, with the six services' databases and nothing else."""
    with Server.start() as server:
        for database in SERVICES.values():
            create_database(server, database)
        yield server


@pytest.fixture
def operator(fleet: Server, tmp_path: Path) -> Iterator[Operator]:
    """The superuser of `fleet`, whose strays are gone after the test."""
    yield from _operator(fleet, tmp_path)
    tidy(fleet)


@pytest.fixture
def stranger(own_server: Server, tmp_path: Path) -> Iterator[Operator]:
    """The superuser of an empty server that belongs to the test."""
    yield from _operator(own_server, tmp_path)


def _operator(server: Server, directory: Path) -> Iterator[Operator]:
    made = Operator(server, directory, server.url())
    yield made
    for program in made.started:
        if program.process.poll() is None:
            program.process.kill()
        program.wait()


def tidy(server: Server) -> None:
    """Make the six databases and `postgres` as they were, and drop what else there is."""
    there = execute(server, "select datname from pg_database where not datistemplate")
    for (name,) in there:
        if name not in SERVICES.values() and name != "postgres":
            with server.connect() as connection:
                drop = sql.SQL("drop database {} with (force)")
                connection.execute(drop.format(sql.Identifier(name)))
    for name in ("postgres", *SERVICES.values()):
        with server.connect(name) as connection:
            _empty(connection)
            if name != "postgres":
                revoke = sql.SQL("revoke connect on database {} from public")
                connection.execute(revoke.format(sql.Identifier(name)))


def _empty(connection: psycopg.Connection[Any]) -> None:
    name = sql.Identifier(connection.info.dbname)
    for statement in (
        "alter database {} owner to postgres",
        "alter database {} reset all",
        "comment on database {} is null",
    ):
        connection.execute(sql.SQL(statement).format(name))
    query = "select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> %s"
    for (schema,) in connection.execute(query, ["information_schema"]).fetchall():
        connection.execute(
            sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema))
        )
    connection.execute("create schema public; grant usage on schema public to public")
