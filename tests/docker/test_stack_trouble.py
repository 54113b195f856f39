"""What goes wrong around a start in a container: stops, servers in every state, neighbours."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.engine import OPERATOR, Container, docker, once, running, until
from tests.support.server import Endpoint, rows
from tests.support.stack import Stack, secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.parametrize("stack", ["docker compose"], indirect=True)

PROBE = ("/opt/entrypoint/bin/entrypoint", "health")

SLEEPS = """
from database import connect
connection = connect()
connection.execute("create table if not exists notes_held (id int)")
connection.execute("lock table notes_held")
print("sleeps", flush=True)
connection.execute("select pg_sleep(600)")
"""
"""A push or a seed that does not end, with a lock on the server."""

TENANT = "6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60"

PHASES: dict[str, tuple[dict[str, str], str]] = {
    "gates": ({"ENTRYPOINT_GATES": "tcp://postgres:1"}, "gate.retry_scheduled"),
    "wait": ({"DATABASE_URL": "postgresql://u:p@postgres:1/stopped"}, "wait.retry_scheduled"),
    "lock": ({}, "lock.contended"),
    "push": ({"ENTRYPOINT_PUSH_COMMAND": f"python3 -c '{SLEEPS}'"}, "sleeps"),
    "seed": (
        {"ENTRYPOINT_SEED_COMMAND": f"python3 -c '{SLEEPS}'", "SEED_TENANT_ID": TENANT},
        "sleeps",
    ),
    "running": ({}, "listening"),
}
"""Each phase of a start, what makes it last, and what is logged in it."""


@contextmanager
def service(
    stack: Stack, database: str, host: str = "postgres", *options: str, **environ: str
) -> Iterator[Container]:
    """The Python service of the examples, beside the stack, on a database of its own."""
    url = f"postgresql://postgres:{secret('admin_password')}@{host}:5432/{database}"
    variables = {
        "ENTRYPOINT_SERVICE": "demo-notes-service",
        "TABLE_PREFIX": "notes_",
        "DATABASE_URL": url,
        **environ,
    }
    words = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    network = () if "--network" in options else ("--network", stack.network)
    with running(stack.image("ai-service"), options=[*network, *options, *words]) as container:
        yield container


@contextmanager
def postgres(stack: Stack, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """A server of one's own on the stack's network, ready."""
    words = ["--network", stack.network]
    words += ["--env", f"POSTGRES_PASSWORD={secret('admin_password')}", *options]
    with running("postgres:17", "postgres", *command, options=words) as container:
        ready(container)
        yield container


def ready(container: Container) -> None:
    """Block until a server accepts connections over TCP, or says that it will not yet."""
    probe = ["pg_isready", "--host=127.0.0.1"]
    until(lambda: container.execute(*probe, check=False).returncode < 2, "the server listens")


def endpoint(container: Container, network: str) -> Endpoint:
    """Where it is to be reached from here."""
    address = container.inspect()["NetworkSettings"]["Networks"][network]["IPAddress"]
    return Endpoint(address, 5432, "postgres", secret("admin_password"))


def probed(container: Container) -> str:
    """The line of `entrypoint health`."""
    return container.execute(*PROBE, check=False).stdout


def served(container: Container) -> None:
    """Block until the probe says that the service is healthy."""
    until(lambda: probed(container).startswith("healthy"), "the probe says healthy", 120)


@pytest.mark.parametrize("phase", PHASES)
def test_docker_stop_ends_every_phase(stack: Stack, phase: str) -> None:
    """By the code for SIGTERM, or the service's own; no session and no lock are left."""
    database = f"stopped_{phase}"
    environ, line = PHASES[phase]
    with ExitStack() as others:
        if phase == "lock":
            held, sleeps = PHASES["push"]
            holder = others.enter_context(service(stack, database, **held))
            holder.until(sleeps)
        with service(stack, database, **environ) as container:
            container.until(line)
            docker("stop", "--time", "50", container.name)
            assert container.inspect()["State"]["ExitCode"] == (0 if phase == "running" else 143)
    until(lambda: not sessions(stack, database), "no session is left")
    with service(stack, database) as again:
        served(again)


def sessions(stack: Stack, database: str) -> list[tuple[str, ...]]:
    """Who is connected to a database."""
    with stack.server.connect() as connection:
        query = "select application_name from pg_stat_activity where datname = %s"
        return connection.execute(query, [database]).fetchall()


@pytest.mark.parametrize("hot_standby", ["on", "off"])
def test_a_server_in_recovery_is_waited_for(stack: Stack, hot_standby: str) -> None:
    """Read-only or refusing connections until it is promoted; then the start goes on."""
    command = ("-c", f"hot_standby={hot_standby}")
    with postgres(stack, command=command) as server:
        server.execute("sh", "-c", "touch $PGDATA/standby.signal")
        docker("restart", server.name)
        ready(server)
        with service(stack, "recovering", server.name) as container:
            container.until("wait.retry_scheduled")
            assert probed(container).startswith("starting: ")

            server.execute("su", "postgres", "-c", "pg_ctl promote -D $PGDATA")

            served(container)
            assert container.inspect()["RestartCount"] == 0


def test_a_server_without_a_free_slot_is_waited_for(stack: Stack) -> None:
    """As soon as somebody leaves, the start goes on."""
    command = ("-c", "max_connections=5", "-c", "superuser_reserved_connections=0")
    with postgres(stack, command=command) as server, ExitStack() as clients:
        here = endpoint(server, stack.network)
        with suppress(psycopg.OperationalError):
            while True:
                clients.enter_context(here.connect())
        with service(stack, "crowded", server.name) as container:
            container.until("wait.retry_scheduled")
            assert "too many clients" in container.events("wait.retry_scheduled")[0]["cause"]

            clients.close()

            served(container)


def test_a_server_without_room_is_waited_for(stack: Stack) -> None:
    """On a full disk no database can be made; with room again, the start goes on."""
    with postgres(stack, "--tmpfs", "/var/lib/postgresql/data:size=160m") as server:
        fill = "dd if=/dev/zero of=$PGDATA/ballast bs=1M 2>/dev/null; true"
        server.execute("sh", "-c", fill)
        with service(stack, "crammed", server.name) as container:
            container.until("No space left")
            server.execute("sh", "-c", "rm $PGDATA/ballast")
            served(container)


def test_containers_that_share_namespaces_have_a_health_each(stack: Stack) -> None:
    """One serves and one is still starting, on one network and among the same PIDs."""
    with service(stack, "first") as first:
        served(first)
        shared = f"container:{first.name}"
        options = ("--network", shared, "--pid", shared)
        late = {"PORT": "4999", "ENTRYPOINT_GATES": "tcp://127.0.0.1:4998"}
        with service(stack, "second", "postgres", *options, **late) as second:
            second.until("gates.started")
            assert probed(second).startswith("starting: gates")
            assert probed(first).startswith("healthy: http://127.0.0.1:4002/")

            listen = "import socket; socket.create_server(('127.0.0.1', 4998)).accept()"
            first.execute("python3", "-c", listen)

            served(second)
            assert probed(second).startswith("healthy: http://127.0.0.1:4999/")
            assert probed(first).startswith("healthy: http://127.0.0.1:4002/")
            docker("stop", "--time", "50", second.name)
            assert probed(first).startswith("healthy")


def test_a_killed_server_is_waited_for(stack: Stack) -> None:
    """The services live through it and a start waits; nobody is started again."""
    before = {c.name: c.inspect()["State"]["StartedAt"] for c in stack.replicas()}
    [server] = stack.containers("postgres")
    docker("kill", server.name)
    with service(stack, "killed") as container:
        container.until("wait.retry_scheduled")
        assert probed(stack.replicas()[0]).startswith("unhealthy: ")

        docker("start", server.name)
        # Its resolver keeps the address that the server had, for ten minutes.
        docker("restart", *[each.name for each in stack.containers("pgbouncer")])

        served(container)
        for each in stack.replicas():
            served(each)
    assert {c.name: c.inspect()["State"]["StartedAt"] for c in stack.replicas()} == before
    assert rows(stack.server, "gaqno_sso_db") == {"sso_tenants": 1}


def test_an_operator_gets_a_report_into_a_folder_of_his(stack: Stack, tmp_path: Path) -> None:
    """The operator's image as the user whose folder it is given, as verify-and-status.md says."""
    with postgres(stack) as server:
        with endpoint(server, stack.network).connect() as connection:
            connection.execute("create sequence rpg_numbers")
        url = f"postgresql://postgres:{secret('admin_password')}@{server.name}:5432/postgres"
        options = ["--network", stack.network, "--env", f"ENTRYPOINT_ADMIN_URL={url}"]
        options += ["--user", str(os.getuid()), "--volume", f"{tmp_path}:/reports"]
        words = ["transfer", "gaqno-rpg-service", "--yes", "--report", "/reports/rpg.md"]

        once(OPERATOR, *words, options=options)

    assert "rpg_numbers" in (tmp_path / "rpg.md").read_text()
    assert (tmp_path / "rpg.md").stat().st_uid == os.getuid()
