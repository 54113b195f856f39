"""An image that raises rights: what somebody who is in a container of ours finds to become more.

A service's process that was taken over runs in an image that has our payload, and so does whoever
comes into the operator's image: set-uid programs, capabilities of files, a program that others may
overwrite and root runs, and secrets that a build left behind are what they look for first.
"""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import OPERATOR, PAYLOADS, built, docker, once, running, two_lines, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
IMAGES = [*PAYLOADS.values(), OPERATOR]
HOME = "opt/entrypoint"
STRANGER = "10002"
MARK = "t0ken-k4nary"

PLANT = "printf '#!/bin/sh\\nid -u\\n' > /opt/entrypoint/bin/entrypoint"
"""What a stranger does to a program that others run."""

PEEK = "RUN cp /bin/cat /usr/bin/peek && chmod 4755 /usr/bin/peek"
"""A set-uid program that shows its caller what only root may read."""

WORSE = f"""
FROM {OPERATOR}
USER root
RUN set -e; cd /{HOME}; \\
  cp /bin/cat set-uid; chmod 4755 set-uid; cp /bin/cat set-gid; chmod 2755 set-gid; \\
  touch open shared his able; mkdir anybody; \\
  chmod 666 open; chmod 664 shared; chmod 777 anybody; chown 1000 his; \\
  python/bin/python3 -IS -c "import os; os.setxattr('able', 'security.capability', bytes.fromhex( \\
    '0100000202000000000000000000000000000000'))"
"""
"""The operator's image with one of each fault."""


def faults(image: str, folder: Path) -> dict[str, set[str]]:
    """Each file of an image with what is wrong with it, by its path without the first slash.

    What is not ours may belong to another user or group, and be writable for its group; a folder
    with the sticky bit, such as /tmp, may be writable for everybody.
    """
    name, archive = unique("export"), folder / "files.tar"
    docker("create", "--name", name, image, "none")
    try:
        docker("export", "--output", archive, name)
    finally:
        docker("rm", name)
    found = {}
    with tarfile.open(archive) as members:
        for member in members:
            wrong = set(_wrong(member))
            if wrong:
                found[member.name.rstrip("/")] = wrong
    return found


def _wrong(member: tarfile.TarInfo) -> Iterator[str]:
    ours = member.name.startswith(HOME)
    if member.issym() or member.isdev():
        return
    if member.isfile() and member.mode & 0o6000:
        yield "set-id"
    if any("security.capability" in header for header in member.pax_headers):
        yield "capability"
    if member.mode & (0o022 if ours else 0o002) and not (member.isdir() and member.mode & 0o1000):
        yield "writable"
    if ours and (member.uid, member.gid) != (0, 0):
        yield "owner"


@pytest.mark.parametrize("image", IMAGES)
def test_no_file_raises_rights(image: str, tmp_path: Path) -> None:
    """No set-uid or set-gid file, no capability, nothing of ours that others may write or own."""
    assert faults(image, tmp_path) == {}


def test_a_file_that_raises_rights_is_found(tmp_path: Path) -> None:
    """One of each in the operator's image: the same look finds them, and nothing else."""
    with built(None, dockerfile=WORSE) as image:
        assert faults(image, tmp_path) == {
            f"{HOME}/set-uid": {"set-id"},
            f"{HOME}/set-gid": {"set-id"},
            f"{HOME}/open": {"writable"},
            f"{HOME}/shared": {"writable"},
            f"{HOME}/anybody": {"writable"},
            f"{HOME}/his": {"owner"},
            f"{HOME}/able": {"capability"},
        }


@pytest.mark.parametrize("base", PAYLOADS)
def test_a_stranger_cannot_plant_a_program_that_root_runs(base: str) -> None:
    """In a service's image a user other than root may write none of our files and folders."""
    writable = 'find /opt/entrypoint | while read -r f; do [ ! -w "$f" ] || echo "$f"; done'
    options = ["--entrypoint", "sleep", "--user", STRANGER]
    with (
        built(None, dockerfile=two_lines(base)) as image,
        running(image, "600", options=options) as container,
    ):
        planted = container.execute("sh", "-c", PLANT, check=False)
        seen = container.execute("sh", "-c", writable).stdout
        said = docker("exec", "--user", "0", container.name, "/opt/entrypoint/bin/entrypoint", "-h")

    assert planted.returncode != 0
    assert seen == ""
    assert "usage: entrypoint" in said.stdout


@pytest.mark.parametrize("base", PAYLOADS)
def test_a_stranger_plants_a_program_that_others_may_write(base: str) -> None:
    """Where the launcher is writable for everybody, root runs what the stranger wrote."""
    worse = f"{two_lines(base)}RUN chmod 777 /opt/entrypoint/bin/entrypoint\n"
    options = ["--entrypoint", "sleep", "--user", STRANGER]
    with (
        built(None, dockerfile=worse) as image,
        running(image, "600", options=options) as container,
    ):
        container.execute("sh", "-c", PLANT)
        said = docker("exec", "--user", "0", container.name, "/opt/entrypoint/bin/entrypoint", "-h")

    assert said.stdout == "0\n"


def test_the_operator_becomes_root_by_no_program() -> None:
    """A set-uid program that the base or a package brings has lost that bit in our image."""
    [line] = re.findall(
        r"^  (find / .* chmod .*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    brought = f"FROM {OPERATOR}\nUSER root\n{PEEK}\n"
    peek = ["--entrypoint", "/usr/bin/peek", "--user", STRANGER]
    with (
        built(None, dockerfile=brought) as attacked,
        built(None, dockerfile=f"{brought}RUN {line}\n") as defended,
    ):
        control = once(attacked, "/etc/shadow", options=peek)
        refused = once(defended, "/etc/shadow", options=peek, check=False)

    assert "root:" in control.stdout
    assert refused.returncode == 1
    assert "Permission denied" in refused.stderr


def history(image: str) -> list[str]:
    """The lines of the Dockerfile that made an image, with their arguments."""
    words = ["history", "--no-trunc", "--format", "{{.CreatedBy}}", image]
    return docker(*words).stdout.splitlines()


def variables(image: str) -> list[str]:
    """What an image sets for every process that is started in it."""
    told = docker("image", "inspect", "--format", "{{json .Config.Env}}", image).stdout
    return json.loads(told) or []


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_no_variable_of_its_build(image: str) -> None:
    """Only the PATH is set, and the history names no argument but the version and the revision."""
    with built(None, dockerfile="FROM debian:trixie-slim\n") as base:
        ours = [line for line in history(image) if line not in history(base)]

    assert {entry.partition("=")[0] for entry in variables(image)} <= {"PATH"}
    arguments = [re.split("[= ]", line)[1] for line in ours if line.startswith("ARG ")]
    assert set(arguments) == {"VERSION", "REVISION"}
    assert [line for line in ours if line.startswith("ENV ")] == []


@pytest.mark.parametrize(
    ("line", "places"),
    [
        ("ARG TOKEN\nRUN true", ["history"]),
        ("ARG TOKEN\nENV TOKEN=$TOKEN", ["history", "environment"]),
        ("RUN --mount=type=secret,id=token cat /run/secrets/token >/dev/null", []),
    ],
    ids=["argument", "environment", "secret"],
)
def test_a_secret_is_left_by_an_argument_and_not_by_a_mount(
    line: str, places: list[str], tmp_path: Path
) -> None:
    """An argument stays in the history and a variable in the image; what is mounted in neither."""
    (tmp_path / "token").write_text(MARK)
    secret = ["--secret", f"id=token,src={tmp_path / 'token'}"]
    argument = ["--build-arg", f"TOKEN={MARK}"]
    dockerfile = f"FROM debian:trixie-slim\n{line}\n"
    with built(None, *secret, *argument, dockerfile=dockerfile) as image:
        holders = {"history": history(image), "environment": variables(image)}
        assert [place for place, lines in holders.items() if MARK in "".join(lines)] == places


def secrets(dockerfile: str) -> list[str]:
    """The arguments and variables of a Dockerfile that sound like secrets."""
    named = re.findall(r"^(?:ARG|ENV) (.+)$", dockerfile, re.MULTILINE)
    words = [word.partition("=")[0] for line in named for word in line.split()]
    return [word for word in words if re.search("TOKEN|SECRET|PASS|KEY|CRED|URL", word)]


def test_every_secret_of_a_build_is_mounted() -> None:
    """No Dockerfile of ours takes one by argument or variable, which the same look would find."""
    files = [ROOT / "Dockerfile", *ROOT.glob("examples/*/Dockerfile")]

    assert [name for file in files for name in secrets(file.read_text())] == []
    assert secrets("ARG NPM_TOKEN\nENV A=b DATABASE_URL=x\n") == ["NPM_TOKEN", "DATABASE_URL"]
