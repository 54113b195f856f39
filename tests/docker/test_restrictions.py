"""A start under all that a platform may take from a container."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import built, once

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    options += ["--env", "ENTRYPOINT_SKIP=push"]

    done = once(image, "echo", "started", options=[*options, *RESTRICTIONS[restriction]])

    assert done.stdout == "started\n"
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert "database.created" in events
    assert events[-1] == "handoff.executed"


@pytest.fixture(scope="session")
def without_temp(service_images: dict[str, str]) -> Iterator[dict[str, str]]:
    """The same images without any temp folder."""
    gone = "FROM {}\nUSER 0\nRUN rm -rf /tmp /var/tmp\nUSER 1000650000:0\n"
    with ExitStack() as stack:
        yield {
            base: stack.enter_context(built(None, dockerfile=gone.format(image)))
            for base, image in service_images.items()
        }


def test_a_service_starts_without_a_temp_folder(base: str, without_temp: dict[str, str]) -> None:
    """No /tmp and no /var/tmp: the state goes elsewhere, and nothing else needs them."""
    options = ["--env", "ENTRYPOINT_SKIP=push,seed", "--read-only"]
    options += ["--env", "DATABASE_URL=postgresql://u:p@h/d"]
    done = once(without_temp[base], "sh", "-c", "test ! -e /tmp && ls /dev/shm", options=options)
    events = [json.loads(line)["event"] for line in done.stderr.splitlines() if line[0] == "{"]
    assert events[-1] == "handoff.executed"
    assert "state.not_written" not in events
    assert done.stdout.startswith("entrypoint-")


def test_a_service_starts_without_home_and_language(image: str) -> None:
    """HOME, LANG and LC_* are not set at all, which the engine alone cannot bring about."""
    options = ["--entrypoint", "env", "--env", "ENTRYPOINT_SKIP=push,seed"]
    options += ["--env", "DATABASE_URL=postgresql://u:p@h/d"]
    ours = ["/opt/entrypoint/bin/entrypoint", "run", "--", "env"]
    done = once(image, "-u", "HOME", "-u", "LANG", *ours, options=options)
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert "DATABASE_URL" in names
    assert not {name for name in names if name in ("HOME", "LANG") or name.startswith("LC_")}
