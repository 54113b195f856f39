"""The example services from an empty server to their end, and the demo."""

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
from typing import TYPE_CHECKING, Protocol

import pytest

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

    def __call__(self, directory: Path, url: str, *command: str, force: str = "") -> Program:
        """The database is at this URL, the service is started by this command."""


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start services; those that a failed test leaves behind are ended."""
    started: list[Program] = []

    def start(directory: Path, url: str, *command: str, force: str = "") -> Program:
        port = free_port()
        environ = {"PATH": PATH, "PORT": str(port), "DATABASE_URL": url, "SEED_TENANT_ID": TENANT}
        environ["ENTRYPOINT_FORCE"] = force
        program = Program.start("run", "--", *command, environ=environ, directory=directory)
        started.append(program)
        program.until("handoff.exec")
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

    third = serve(directory, url, "python3", "server.py", force="push,seed")

    assert lines(third, "push") == ["push-db: no changes"]
    assert lines(third, "seed") == ["seed: inserted 0 rows"]
    assert rows(server, database) == {"notes_authors": 2, "notes_notes": 3}
    assert stop(third) == 0
    assert "its-password" not in first.output + second.output + third.output


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

    third = serve(node_service, url, "node", "server.js", force="push,seed")

    assert "No changes detected" in lines(third, "push")[-1]
    assert "seed: inserted 0 rows" in lines(third, "seed")[-1]
    assert rows(own_server, "gaqno_rpg_db") == RPG_ROWS
    assert stop(third) == 0
    assert "p@ss" not in first.output + second.output + third.output


def test_the_demo_shows_what_it_claims() -> None:
    """Every act is played, every claim ticked off, and the exit code is 0."""
    with demo() as process:
        try:
            output, _ = process.communicate(timeout=DEMO_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.terminate()  # it then ends what it started
            output, _ = process.communicate()

    assert process.returncode == 0, output
    for claim in (
        "ok: exit code 3",
        "/demo_notes_db (the password is masked",  # the remedy
        "ok: nothing was made",
        "push-db: created table notes_notes",
        "ok: the service listens, with the PID that was started",
        "ok: rows in its database: {'notes_authors': 2, 'notes_notes': 3}",
        'ok: GET /v1/health: 200 {"status": "ok"}',
        "ok: 3 notes are served",
        "ok: after SIGTERM the service's exit code, 0",
        "ok: no push: nothing changed",
        "ok: no seed: the tenant has it",
        "ok: one did the push",
        "ok: one did the seed",
        "What you saw, all of it checked:",
    ):
        assert claim in output
    assert output.count("ok: no line of it has the password") == 6
    assert output.count("ok: no warning") == 5


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
    return [event["line"] for event in program.all(f"{step}.output")]


def stop(program: Program) -> int:
    """Stop it as `docker stop` does; its exit code."""
    program.signal(signal.SIGTERM)
    return program.wait()
