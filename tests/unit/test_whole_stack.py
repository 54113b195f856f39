"""docker-compose.test.yml, and the commands that bring it up, work on an engine of anybody's."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.support import docs
from tests.support.engine import PAYLOADS
from tests.support.manifests import ROOT

STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.test.yml").read_text())["services"]
BUILT = {name: service["build"] for name, service in STACK.items() if "build" in service}

WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text()

PUBLIC = {"debian", "node", "postgres", "python"}
"""What every engine can pull: official images."""


def folder(build: dict[str, Any]) -> str:
    """Where a service of the stack is built from."""
    return str(build["context"]).replace("${EXAMPLES:-./examples}", "examples")


@pytest.mark.parametrize("service", BUILT)
def test_what_is_built_is_built_from_public_images(service: str) -> None:
    """A base is an official image, and what is copied from another one `make image` makes."""
    dockerfile = (ROOT / folder(BUILT[service]) / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)

    assert bases
    assert {base.partition(":")[0] for base in bases} <= PUBLIC
    assert set(re.findall(r"--from=(\S+)", dockerfile)) <= set(PAYLOADS.values())


def test_what_is_not_built_can_be_pulled() -> None:
    """Every other image of the stack is an official one."""
    pulled = {service["image"] for name, service in STACK.items() if name not in BUILT}

    assert pulled
    assert {image.partition(":")[0] for image in pulled} <= PUBLIC


COMMANDS = {
    "the page": docs.block("docs/how-to/compose", "A whole stack", "sh"),
    "CONTRIBUTING.md": docs.block("CONTRIBUTING", "With a container engine", "sh"),
    "the stack": (ROOT / "docker-compose.test.yml").read_text(),
}


@pytest.mark.parametrize("where", COMMANDS)
def test_the_commands_make_a_payload_for_the_public_bases(where: str) -> None:
    """Whoever copies them gets one on the Debian of the public `node:20-slim`, as CI has it."""
    [public] = re.findall(r"PYTHON_SLIM=\S+", WORKFLOW)
    commands = COMMANDS[where]
    first = re.search(r"make (image|test-docker|bench-docker)\b.*", commands)

    assert first
    assert public in commands[: first.end()]
