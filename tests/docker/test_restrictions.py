"""A start under all that a platform may take from a container."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import once

if TYPE_CHECKING:
    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint

RESTRICTIONS = {
    "nothing": [],
    "read-only root": ["--read-only"],
    "a user without a passwd row": ["--user", "1000650000:0"],
    "no capabilities": ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
    "64 MB": ["--memory", "64m", "--memory-swap", "64m"],
    "no HOME": ["--env", "HOME"],
    "another LANG": ["--env", "LANG=ru_RU.KOI8-R"],
    "its own Python": ["--env", "PYTHONHOME=/nowhere", "--env", "PYTHONPATH=/nowhere"],
}
RESTRICTIONS["all at once"] = [word for words in RESTRICTIONS.values() for word in words]


@pytest.mark.parametrize("restriction", RESTRICTIONS)
def test_a_service_starts_whatever_is_taken_away(
    image: str, restriction: str, server: Endpoint, database: str, role: RoleFactory
) -> None:
    """The database is created and the service started: read-only, any user, 64 MB, no HOME."""
    owner = role("createdb")
    url = server.url(database, owner.name, owner.password)
    options = ["--network", "host", "--env", f"DATABASE_URL={url}", "--env", "SERVICE_NAME=demo"]

    done = once(image, "echo", "started", options=[*options, *RESTRICTIONS[restriction]])

    assert done.stdout == "started\n"
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert "database.created" in events
    assert events[-1] == "handoff.exec"
