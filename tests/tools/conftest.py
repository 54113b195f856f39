"""A service per tool, in a database as the tool itself made it."""

from __future__ import annotations

import os
import subprocess
import uuid
from functools import cache
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.conftest import Role
from tests.support.npm import HAS_NODE
from tests.support.stage import Stage
from tests.tools.trial import Begin, Trial, for_any_driver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Endpoint
    from tests.tools.tool import Tool
    from tests.tools.trial import Templates


@pytest.fixture(scope="session")
def owner(server: Endpoint) -> Iterator[Role]:
    """The role of all the services, which may create databases and nothing else."""
    role = Role(f"role_{uuid.uuid4().hex[:12]}", "p@ss/word#1%")
    name = sql.Identifier(role.name)
    with server.connect() as connection:
        for_any_driver(connection)
        statement = sql.SQL("create role {} login createdb password {}")
        connection.execute(statement.format(name, role.password))
    yield role
    with server.connect() as connection:
        connection.execute(sql.SQL("drop role {}").format(name))


@pytest.fixture(scope="session")
def templates(
    server: Endpoint, owner: Role, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Templates]:
    """What the releases after the first begin with, made once."""
    names: list[str] = []

    @cache
    def template(tool: Tool) -> str:
        name = f"template_{uuid.uuid4().hex[:12]}"
        statement = sql.SQL("create database {} owner {}")
        with server.connect() as connection:
            connection.execute(statement.format(*map(sql.Identifier, (name, owner.name))))
        names.append(name)
        directory = tmp_path_factory.mktemp("template")
        tool.lay(directory, "one")
        url = server.url(name, owner.name, owner.password)
        environ = {"PATH": os.environ["PATH"], "DATABASE_URL": url, **tool.environ}
        done = subprocess.run(
            tool.push,
            check=False,
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        with server.connect(name) as connection:
            connection.execute("insert into rpg_users values (1, 'ann', 'x'), (2, 'bob', 'x')")
        return name

    yield template
    for name in names:
        with server.connect() as connection:
            connection.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))


@pytest.fixture
def begin(
    server: Endpoint, owner: Role, database: str, templates: Templates, tmp_path: Path
) -> Iterator[Begin]:
    """Make the test's service."""
    if not HAS_NODE:
        pytest.skip("Node is not installed")
    stage = Stage(tmp_path, server, database, owner.name, owner.password)

    def trial(tool: Tool) -> Trial:
        return Trial(stage, tool, templates, tmp_path)

    yield trial
    for program in stage.started:
        if program.process.poll() is None:
            program.process.kill()
        program.wait()
