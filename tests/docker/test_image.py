"""How the images are made, and what they say of themselves."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from entrypoint import __version__
from tests.support.engine import (
    BUILD_ARGS,
    BUILD_TIMEOUT_S,
    OPERATOR,
    PAYLOADS,
    built,
    docker,
    once,
)

if TYPE_CHECKING:
    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint

ROOT = Path(__file__).parents[2]
PYTHONS = {
    "node:20-slim": os.environ.get("PYTHON_SLIM", "python:3.13-slim"),
    "node:20-alpine": os.environ.get("PYTHON_ALPINE", "python:3.13-alpine"),
}
MARK = "a-secret-that-must-stay-outside"


def config(image: str) -> dict[str, Any]:
    """What an image says of itself."""
    found = json.loads(docker("image", "inspect", image).stdout)[0]
    assert isinstance(found, dict)
    return found


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """What the image is made of, without anything else that a work tree holds."""
    for name in ("entrypoint", "image", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_a_build_without_a_network_gives_the_same_layers(base: str, context: Path) -> None:
    """From a folder of wheels, with --network=none and no cache: digest for digest what is there.

    Also that a secret of the build is in no layer and in no line of the history.
    """
    secret = context.parent / "ca"
    secret.write_text(f"{MARK}\n{certificates()}")
    python = ("--build-arg", f"PYTHON_IMAGE={PYTHONS[base]}")
    for other in PYTHONS.values():  # as `make wheels`: one folder for both
        fetch_wheels(context, other)
    sealed = ("--network=none", "--no-cache", "--secret", f"id=ca,src={secret}")

    with built(context, *python, *sealed, "--target", "payload") as image:
        assert config(image)["RootFS"] == config(PAYLOADS[base])["RootFS"]
        assert MARK not in docker("history", "--no-trunc", image).stdout
        saved = context.parent / "image.tar"
        docker("save", "--output", saved, image)
        assert MARK.encode() not in saved.read_bytes()


def test_a_build_without_a_network_says_which_wheel_is_missing(context: Path) -> None:
    """Where wheels/ lacks one, that one is named, and not only what the index was asked first."""
    fetch_wheels(context, PYTHONS["node:20-slim"])
    [missing] = (context / "wheels").glob("structlog-*")
    missing.unlink()
    argument = ("--build-arg", f"PYTHON_IMAGE={PYTHONS['node:20-slim']}")
    sealed = ("--network=none", "--progress=plain", "--target", "wheels")

    done = docker("build", *argument, *sealed, context, check=False, timeout=BUILD_TIMEOUT_S)

    _, _, said = done.stderr.partition("wheels/ is not complete; make wheels completes it:\n")
    assert done.returncode != 0
    assert "No matching distribution found for structlog==" in said


def fetch_wheels(context: Path, python: str) -> None:
    """Add what a payload on this image is made of to the context's wheels/."""
    argument = ("--build-arg", f"PYTHON_IMAGE={python}")
    wheels = ("--target", "wheels", "--output", context / "wheels")
    docker("build", *BUILD_ARGS, *argument, *wheels, context, timeout=BUILD_TIMEOUT_S)


def certificates() -> str:
    """The certificates that the build's own secret has, where it has one."""
    sources = [word.partition("src=")[2] for word in BUILD_ARGS if "id=ca" in word]
    return Path(sources[0]).read_text() if sources else ""


@pytest.mark.parametrize("image", [*PAYLOADS.values(), OPERATOR])
def test_the_labels_say_what_it_is(image: str) -> None:
    """Title, description, licence, version and revision, as OCI has them."""
    labels = config(image)["Config"]["Labels"]
    told = {name.removeprefix("org.opencontainers.image."): labels[name] for name in labels}

    assert set(told) == {"title", "description", "licenses", "version", "revision"}
    assert (told["title"], told["licenses"]) == ("entrypoint", "MIT")
    assert told["version"] == __version__
    assert len(told["revision"].removesuffix("-dirty")) == 40


@pytest.mark.parametrize("payload", PAYLOADS.values())
def test_a_payload_sets_nothing(payload: str) -> None:
    """One layer, and no variable, user, command or volume that an image could inherit."""
    said = config(payload)
    inherited = ("User", "Cmd", "Entrypoint", "Volumes", "ExposedPorts", "Healthcheck", "OnBuild")

    assert len(said["RootFS"]["Layers"]) == 1
    assert {name: said["Config"].get(name) for name in inherited if said["Config"].get(name)} == {}
    # Builders put a PATH into every image.
    assert {entry.partition("=")[0] for entry in said["Config"]["Env"] or []} <= {"PATH"}


def test_the_operators_image_is_not_root() -> None:
    """By number, so that a runtime can see it, and without any right in the image."""
    assert config(OPERATOR)["Config"]["User"] == "10001:10001"
    assert once(OPERATOR, "-u", options=["--entrypoint", "id"]).stdout == "10001\n"


def test_an_operators_image_may_bring_a_newer_client(context: Path) -> None:
    """An image that has pg_dump, such as postgres:18, gets no other, and none of its own ways."""
    bases = ["--build-arg", f"PYTHON_IMAGE={PYTHONS['node:20-slim']}"]
    bases += ["--build-arg", "OPERATOR_IMAGE=postgres:17"]
    look = ["-c", "pg_dump --version; dpkg-query --show 'postgresql*'"]
    shell = ["--entrypoint", "sh"]

    brought = once("postgres:17", *look, options=shell).stdout
    with built(context, *bases, "--target", "operator") as image:
        assert once(image, *look, options=shell).stdout == brought
        assert once(image, "-u", options=["--entrypoint", "id"]).stdout == "10001\n"
        assert "transfer" in once(image).stdout
        assert config(image)["Config"]["StopSignal"] == "SIGTERM"


def test_the_operators_image_has_its_commands(
    server: Endpoint, database: str, role: RoleFactory
) -> None:
    """It answers without an argument, has the client, and sees a real server, in a terminal too."""
    owner = role("createdb")
    url = server.url(database, owner.name, owner.password)
    options = ["--network", "host", "--env", f"ENTRYPOINT_ADMIN_URL={server.url()}"]
    options += ["--env", f"DATABASE_URL={url}", "--read-only"]

    assert "transfer" in once(OPERATOR).stdout
    assert once(OPERATOR, "--version", options=["--entrypoint", "pg_dump"]).stdout.startswith(
        "pg_d"
    )
    plain = once(OPERATOR, "status", "--json", options=options)
    shown = once(OPERATOR, "status", options=[*options, "--tty"])

    assert json.loads(plain.stdout)
    assert "Traceback" not in shown.stdout
