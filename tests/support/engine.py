"""A container engine as a user drives it; what a test starts there ends with the test."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

DOCKER = os.environ.get("DOCKER", "docker")

BUILD_ARGS = shlex.split(os.environ.get("DOCKER_BUILD_ARGS", ""))
"""What a build needs that reaches a package index, such as a proxy's certificate authority."""

TIMEOUT_S = 60.0
LOOK_S = 0.25
"""Between two looks at a container: each is a process of the client, and often one inside."""

BUILD_TIMEOUT_S = 600.0

PAYLOADS = {
    "node:20-slim": "gaqno/entrypoint:1-slim",
    "node:20-alpine": "gaqno/entrypoint:1-alpine",
}
"""Each base image of the services, and the payload for its libc."""

OPERATOR = "gaqno/entrypoint:1-operator"
"""The image for people who look after the server."""


def two_lines(base: str) -> str:
    """The least Dockerfile of a service on `base`."""
    return f"""
FROM {base}
COPY --from={PAYLOADS[base]} /opt/entrypoint /opt/entrypoint
ENTRYPOINT ["/opt/entrypoint/bin/entrypoint", "run", "--"]
"""


def docker(
    *words: str | Path,
    check: bool = True,
    stdin: str | None = None,
    environ: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_S,
) -> subprocess.CompletedProcess[str]:
    """Run the client. With `check`, a failure is the test's, with what was said."""
    done = subprocess.run(
        [DOCKER, *map(str, words)],
        input=stdin,
        env={**os.environ, "DOCKER_BUILDKIT": "1", **(environ or {})},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        check=False,
    )
    assert not check or done.returncode == 0, f"docker {shlex.join(map(str, words))}: {done.stderr}"
    return done


def until(true: Callable[[], object], what: str, timeout: float = TIMEOUT_S) -> None:
    """Block until something is true that a container is asked for."""
    program.until(true, what, timeout, every_s=LOOK_S)


def unique(what: str) -> str:
    """A name that nothing else on this engine has."""
    return f"entrypoint-test-{what}-{uuid.uuid4().hex[:12]}"


@contextmanager
def built(context: Path | None, *arguments: str, dockerfile: str | None = None) -> Iterator[str]:
    """An image that is removed at the end, built from a folder, or from a Dockerfile alone."""
    tag = unique("image")
    where: Sequence[str | Path] = ["-"] if context is None else [context]
    if context is not None and dockerfile is not None:
        where = ["--file", "-", context]
    words = ["build", "--quiet", "--tag", tag, *BUILD_ARGS, *arguments, *where]
    docker(*words, stdin=dockerfile, timeout=BUILD_TIMEOUT_S)
    try:
        yield tag
    finally:
        docker("image", "rm", "--force", tag, check=False)


class Container:
    """A container that runs, or ran."""

    def __init__(self, name: str) -> None:
        self.name = name

    def inspect(self) -> dict[str, Any]:
        """All that the engine knows about it."""
        found = json.loads(docker("inspect", self.name).stdout)
        assert isinstance(found[0], dict)
        return found[0]

    def wait(self, timeout: float = TIMEOUT_S) -> int:
        """Block until it ended; its exit code."""
        return int(docker("wait", self.name, timeout=timeout).stdout)

    def output(self) -> tuple[str, str]:
        """What it wrote so far to stdout and stderr."""
        done = docker("logs", self.name)
        return done.stdout, done.stderr

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What entrypoint logged so far, or its events of one name."""
        lines = [line for line in self.output()[1].splitlines() if line.startswith('{"timestamp"')]
        return [event for event in map(json.loads, lines) if name in ("", event["event"])]

    def until(self, text: str, timeout: float = TIMEOUT_S) -> None:
        """Block until it has written this."""
        until(lambda: text in "".join(self.output()), f"{self.name} writes {text!r}", timeout)

    def execute(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program in it."""
        return docker("exec", self.name, *argv, check=check)


@contextmanager
def running(image: str, *argv: str, options: Sequence[str | Path] = ()) -> Iterator[Container]:
    """A container in the background, removed with its volumes at the end, whatever it does."""
    name = unique("container")
    try:
        docker("run", "--detach", "--name", name, *options, image, *argv)
        yield Container(name)
    finally:
        docker("rm", "--force", "--volumes", name, check=False)


def once(
    image: str, *argv: str, options: Sequence[str | Path] = (), check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a container to its end; what it wrote, and its exit code."""
    with running(image, *argv, options=options) as container:
        code = container.wait()
        out, err = container.output()
    assert not check or code == 0, f"{image} {shlex.join(argv)} exits {code}: {out}{err}"
    return subprocess.CompletedProcess(argv, code, out, err)


def accepting(server: Container) -> None:
    """Block until a container's PostgreSQL accepts connections over TCP."""
    ready = ("pg_isready", "--quiet", "--host=127.0.0.1")
    until(lambda: not server.execute(*ready, check=False).returncode, "the server is up")
