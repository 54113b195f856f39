"""Both composes that docker-compose.test.yml is for: docker-compose 1.29 and docker compose 2."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.support.engine import DOCKER, built, docker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
SOCKET = "/var/run/docker.sock"


class Compose(NamedTuple):
    """One of them."""

    client: Sequence[str | Path]
    image: str = ""
    """Where it is installed, if not here."""

    up: Sequence[str] = ("--detach",)
    """What `up` is given, so that it returns; only compose 2 can wait for health."""

    def argv(self, *folders: Path) -> list[str | Path]:
        """How to call it, so that it can read these folders, EXAMPLES and RELEASE."""
        if not self.image:
            return [*self.client]
        volumes = [f"{SOCKET}:{SOCKET}", *(f"{each}:{each}:ro" for each in dict.fromkeys(folders))]
        options = [f"--volume={each}" for each in volumes]
        return [*self.client, *options, "--env=EXAMPLES", "--env=RELEASE", self.image]


@contextmanager
def compose_1() -> Iterator[Compose | None]:
    """docker-compose 1.29, if it is installed."""
    found = shutil.which("docker-compose")
    yield Compose([found]) if found else None


@contextmanager
def compose_2() -> Iterator[Compose | None]:
    """The client's plugin, else Debian's in a container of its own."""
    wait = ("--detach", "--wait")
    if docker("compose", "version", check=False).returncode == 0:
        yield Compose([DOCKER, "compose"], up=wait)
        return
    with built(ROOT / "tests" / "docker" / "compose") as image:
        yield Compose([DOCKER, "run", "--rm"], image=image, up=wait)


COMPOSES = {"docker-compose": compose_1, "docker compose": compose_2}
