"""The example services from an empty server to their end, the tutorial's, and the demo."""

from __future__ import annotations

import http.client
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest
import yaml

from tests.support.docs import block, files
from tests.support.program import Program, alive, until
from tests.support.server import rows
from tests.support.stage import TENANT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Server

EXAMPLES = Path(__file__).parents[2] / "examples"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # python3 is the one with psycopg
DEMO_TIMEOUT_S = 90

RPG_ROWS = {
    "dnd_campaigns": 0,
    "dnd_classes": 4,
    "dnd_sessions": 0,
    "rpg_hero_items": 5,
    "rpg_heroes": 3,
    "rpg_items": 5,
    "rpg_quests": 0,
}


class Serve(Protocol):
    """Starts a service of a folder and blocks until it is healthy."""

    def __call__(self, directory: Path, url: str, *command: str, **environ: str) -> Program:
        """The database is at this URL, the service is started by this command."""


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start services; those that a failed test leaves behind are ended."""
    started: list[Program] = []

    def start(directory: Path, url: str, *command: str, **more: str) -> Program:
        environ = {"PATH": PATH, "DATABASE_URL": url, "SEED_TENANT_ID": TENANT, **more}
        port = int(environ.setdefault("PORT", str(free_port())))
        program = Program.start("run", "--", *command, environ=environ, directory=directory)
        started.append(program)
        program.until("handoff.executed")
        until(lambda: health(port) or program.process.poll() is not None, "it answers")
        assert health(port) == 200, program.output
        return program

    yield start
    for program in started:
        program.process.kill()
        program.wait()


@pytest.fixture(scope="session")
def node_service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the Node example with its packages installed."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node is not installed")
    directory = tmp_path_factory.mktemp("node") / "service"
    copy("node-service", directory)
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(command, check=False, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return directory


def test_the_python_service_on_an_empty_server(
    tmp_path: Path, own_server: Server, serve: Serve
) -> None:
    """Creates, pushes, seeds, serves as the process that was started, stops at SIGTERM with 0."""
    directory, database, server = tmp_path / "service", "demo_notes_db", own_server
    copy("python-service", directory)
    with server.connect() as connection:
        connection.execute("create role notes login createdb password 'its-password'")
    url = server.url(database, "notes", "its-password")

    first = serve(directory, url, "python3", "server.py")

    assert first.one("database.finished")["created"] is True
    assert lines(first, "push") == [
        "push-db: created table notes_authors",
        "push-db: created table notes_notes",
        "push-db: created index notes_authors_tenant_name_key",
        "push-db: created index notes_notes_author_title_key",
    ]
    assert lines(first, "seed") == ["seed: inserted 5 rows"]
    assert rows(server, database) == {"notes_authors": 2, "notes_notes": 3}
    assert stop(first) == 0
    assert f"(pid {first.process.pid})" in first.output

    second = serve(directory, url, "python3", "server.py")

    assert second.one("push.skipped")["reason"] == "unchanged"
    assert second.one("seed.skipped")["reason"] == "seeded"
    assert "lock.started" not in second.names()
    assert stop(second) == 0

    third = serve(directory, url, "python3", "server.py", ENTRYPOINT_FORCE="push,seed")

    assert lines(third, "push") == ["push-db: no changes"]
    assert lines(third, "seed") == ["seed: inserted 0 rows"]
    assert rows(server, database) == {"notes_authors": 2, "notes_notes": 3}
    assert stop(third) == 0
    assert "its-password" not in first.output + second.output + third.output


def test_the_tutorial(tmp_path: Path, own_server: Server, serve: Serve) -> None:
    """The files of docs/tutorial.md, without containers, do what each of its sections says."""
    written = files("docs/tutorial")
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    [copied] = [line for line in written["Dockerfile"].splitlines() if "seed.py" in line]
    assert {*copied.split()[1:-1]} == {*written} - {"Dockerfile", "compose.yaml"}
    environ = yaml.safe_load(written["compose.yaml"])["services"]["notes"]["environment"]
    database = environ["DATABASE_URL"].rpartition("/")[2]
    url, tenant = own_server.url(database), environ["SEED_TENANT_ID"]

    first = serve(tmp_path, url, "python3", "server.py", SEED_TENANT_ID=tenant)
    assert {"database.created", "push.printed", "push.finished", "seed.finished"} <= {
        *first.names()
    }
    with own_server.connect(database) as connection:
        [[greeting]] = connection.execute("select text from notes_notes").fetchall()
    assert greeting == f"Hello, tenant {tenant}!"

    second = serve(tmp_path, url, "python3", "server.py", SEED_TENANT_ID=tenant)
    assert {"push.skipped", "seed.skipped"} <= {*second.names()}

    careless = block("docs/tutorial", "7. A push that would lose rows", "python")
    (tmp_path / "push.py").write_text(written["push.py"] + careless)
    environ = {"PATH": PATH, "DATABASE_URL": url, "SEED_TENANT_ID": tenant, "PORT": "0"}
    refused = Program.start(
        "run", "--", "python3", "server.py", environ=environ, directory=tmp_path
    )
    assert refused.wait() == 7
    assert "ENTRYPOINT_ALLOW_LOSS" in refused.one("push.failed")["remedy"]
    assert rows(own_server, database) == {"notes_notes": 1}


def test_the_node_service_on_an_empty_server(
    node_service: Path, own_server: Server, serve: Serve
) -> None:
    """The same with real Node and drizzle-kit, which put every table where it belongs."""
    url = own_server.url("gaqno_rpg_db", "rpg", "p@ss/word#1%")
    with own_server.connect() as connection:
        connection.execute("create role rpg login createdb password 'p@ss/word#1%'")

    first = serve(node_service, url, "node", "server.js")

    assert first.one("database.created")["database"] == "gaqno_rpg_db"
    assert "Changes applied" in lines(first, "push")[-1]
    assert "seed: inserted 17 rows" in lines(first, "seed")[-1]
    assert rows(own_server, "gaqno_rpg_db") == RPG_ROWS
    assert rows(own_server, "postgres") == {}
    argv = Path(f"/proc/{first.process.pid}/cmdline").read_bytes().split(b"\0")
    assert argv == [b"node", b"server.js", b""]
    assert stop(first) == 0

    second = serve(node_service, url, "node", "server.js")

    assert second.one("push.skipped")["reason"] == "unchanged"
    assert second.one("seed.skipped")["reason"] == "seeded"
    assert stop(second) == 0

    third = serve(node_service, url, "node", "server.js", ENTRYPOINT_FORCE="push,seed")

    assert "No changes detected" in lines(third, "push")[-1]
    assert "seed: inserted 0 rows" in lines(third, "seed")[-1]
    assert rows(own_server, "gaqno_rpg_db") == RPG_ROWS
    assert stop(third) == 0
    assert "p@ss" not in first.output + second.output + third.output


def quiet(program: Program) -> Program:
    """Nothing that it said was a warning."""
    assert [event for event in program.events if event["level"] not in ("debug", "info")] == []
    return program


class Example(NamedTuple):
    """An example as one of the services of a system."""

    name: str
    folder: str
    database: str
    command: tuple[str, ...] = ("node", "server.js")

    @property
    def registered(self) -> tuple[str, ...]:
        """How verify is told to look at it alone; the Python one has a registry for itself."""
        if self.name == "notes":
            ignored = [each.database for each in SYSTEM if each is not self]
            return tuple(word for name in ignored for word in ("--ignore", name))
        return "--service", f"gaqno-{self.name}-service"


SYSTEM = [
    Example("sso", "sso-service", "gaqno_sso_db"),
    Example("rpg", "node-service", "gaqno_rpg_db"),
    Example("finance", "tenant-service", "gaqno_finance_db"),
    Example("omnichannel", "tenant-service", "gaqno_omnichannel_db"),
    Example("notes", "python-service", "demo_notes_db", ("python3", "server.py")),
]


def variables(server: Server) -> dict[str, dict[str, str]]:
    """What each example of `SYSTEM` is told, where it is not what all are."""
    port = str(free_port())
    sso = f"http://127.0.0.1:{port}/v1"
    tenant = {"SEED_TENANT_ID": "", "ENTRYPOINT_GATES": f"{sso}/health"}
    finance, omnichannel = (
        {"ENTRYPOINT_CONFIG": f"services/{name}.toml", "TABLE_PREFIX": prefix, **tenant}
        for name, prefix in (("finance", "finance_"), ("omnichannel", "omni_"))
    )
    finance["ENTRYPOINT_SEED_TENANT_LOOKUP"] = (
        f"{{ url = '{sso}/sso/tenants?name=gaqno-development', field = 'tenants.id' }}"
    )
    omnichannel["ENTRYPOINT_SEED_TENANT_LOOKUP"] = (
        "{ database = 'gaqno_sso_db',"
        " query = \"select id from sso_tenants where name = 'gaqno-development'\" }"
    )
    omnichannel["ENTRYPOINT_LOOKUP_URL"] = server.url("gaqno_sso_db", "sso", "pw")
    return {"sso": {"PORT": port}, "finance": finance, "omnichannel": omnichannel}


@pytest.mark.timeout(300)
def test_no_start_of_an_example_warns(
    tmp_path: Path, node_service: Path, own_server: Server, serve: Serve
) -> None:
    """Five services beside each other: first, second and forced third start; verify is clean."""
    server, told = own_server, variables(own_server)
    for each in SYSTEM:
        with server.connect() as connection:
            connection.execute(f"create role {each.name} login createdb password 'pw'".encode())
        directory = tmp_path / each.name
        copy(each.folder, directory)
        if each.command[0] == "node":  # all of them have the packages of one
            (directory / "node_modules").symlink_to(node_service / "node_modules")

    for force in ("", "", "push,seed"):
        # A superuser's URL beside it guards a push over tables with rows.
        admin = {"ENTRYPOINT_FORCE": force, "ENTRYPOINT_ADMIN_URL": server.url() if force else ""}
        running = []
        for each in SYSTEM:
            url = server.url(each.database, each.name, "pw")
            more = told.get(each.name, {}) | admin
            running.append(quiet(serve(tmp_path / each.name, url, *each.command, **more)))
        assert [stop(program) for program in running] == [0] * 5

    for each in SYSTEM:
        environ = {"PATH": PATH, "DATABASE_URL": server.url()}
        look = ("verify", "--strict", *each.registered)
        directory = tmp_path / (each.name if each.name == "notes" else "")
        verified = Program.start(*look, environ=environ, directory=directory)
        assert verified.wait() == 0, verified.output


def test_the_demo_shows_what_it_claims() -> None:
    """It runs every act, every claim is true, and the exit code is 0."""
    with demo() as process:
        try:
            output, _ = process.communicate(timeout=DEMO_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.terminate()  # it then ends what it started
            output, _ = process.communicate()

    assert process.returncode == 0, output
    for claim in (
        "ok: exit code 3",
        "/demo_notes_db",  # in the remedy
        "ok: the error has the right URL",
        "ok: the server has no new database",
        "ok: the service listens, with the PID that was started",
        "ok: rows in its database: {'notes_authors': 2, 'notes_notes': 3}",
        'ok: GET /v1/health: 200 {"status": "ok"}',
        "ok: the service answers with 3 notes",
        "ok: after SIGTERM the service's exit code, 0",
        "ok: no push, because nothing changed",
        "ok: no seed, because the tenant has its rows",
        "The demo has checked all of this:",
    ):
        assert claim in output
    assert output.count("push-db: created table notes_notes") == 2  # the first start, one replica
    assert len(re.findall("ok: one replica, number [123], ran the (?:push|seed)", output)) == 2
    assert output.count("ok: no line of the log has the password") == 6
    assert output.count("ok: the log has no warning") == 5


def test_ctrl_c_ends_the_demo_and_all_that_it_started() -> None:
    """Exit code 130; the service and the server are gone."""
    listening = server_port = None
    with demo() as process:
        assert process.stdout is not None
        for line in process.stdout:
            server_port = re.search(r"@127\.0\.0\.1:(\d+)", line) or server_port
            listening = re.search(r"listening on .* \(pid (\d+)\)", line)
            if listening:
                process.send_signal(signal.SIGINT)
                break
        rest, _ = process.communicate(timeout=DEMO_TIMEOUT_S)

    assert listening is not None, rest
    assert server_port is not None, rest
    assert process.returncode == 130, rest
    assert not alive(int(listening[1]))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(server_port[1])))


def demo() -> subprocess.Popen[str]:
    """Start the demo; its output is one pipe."""
    argv = [sys.executable, str(EXAMPLES / "demo.py")]
    environ = {**os.environ, "COLUMNS": "120"}
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, env=environ, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def copy(name: str, directory: Path) -> None:
    """Copy an example as it is in the repository."""
    leftovers = shutil.ignore_patterns("node_modules", "__pycache__")
    shutil.copytree(EXAMPLES / name, directory, ignore=leftovers)


def free_port() -> int:
    """A port below the ephemeral ones: no outgoing connection takes it before the service does."""
    while True:
        port = 10_000 + secrets.randbelow(5_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def health(port: int) -> int | None:
    """The status of /v1/health; None as long as nobody listens."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request("GET", "/v1/health")
        except ConnectionRefusedError:
            return None
        return connection.getresponse().status


def lines(program: Program, step: str) -> list[str]:
    """What the step's program wrote."""
    return [event["line"] for event in program.all(f"{step}.printed")]


def stop(program: Program) -> int:
    """Stop it as `docker stop` does; its exit code."""
    program.signal(signal.SIGTERM)
    return program.wait()
