"""The stack of docker-compose.test.yml, driven by compose as a user does, asked from outside."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.compose import ROOT, Compose
from tests.support.engine import BUILD_ARGS, BUILD_TIMEOUT_S, Container, docker, until
from tests.support.server import Endpoint

if TYPE_CHECKING:
    from pathlib import Path

FILE = ROOT / "docker-compose.test.yml"
SECRETS = ROOT / "tests" / "docker" / "stack"

SERVICES = {
    "sso-service": "gaqno_sso_db",
    "ai-service": "gaqno_ai_db",
    "finance-service": "gaqno_finance_db",
    "pdv-service": "gaqno_pdv_db",
    "rpg-service": "gaqno_rpg_db",
    "omnichannel-service": "gaqno_omnichannel_db",
}
"""The six services of the registry, as compose calls them, and their databases."""

HEALTHY_TIMEOUT_S = 300.0
"""Far beyond what a start takes: this machine may be busy with other things."""


def secret(name: str) -> str:
    """A secret of the stack, as its services read it."""
    return (SECRETS / name).read_text().strip()


PASSWORDS = sorted(
    {
        *re.findall(r"throw-away-\w+-\w+", "".join(p.read_text() for p in SECRETS.iterdir())),
    }
)
"""Every password of the stack."""


class Stack:
    """A project of its own; `close` removes its containers, network, volume and images."""

    def __init__(self, compose: Compose) -> None:
        self.project = f"entrypoint-test-{uuid.uuid4().hex[:12]}"
        self.network = f"{self.project}_default"
        self.release = ""
        self._compose = compose
        self._examples = ROOT / "examples"
        self._images: list[str] = []

    def use(self, number: int, examples: Path = ROOT / "examples") -> None:
        """Build the services' images from a folder; they are the release from now on."""
        self.release, self._examples = f"{self.project[-12:]}-{number}", examples
        services = yaml.safe_load(self.compose("config").stdout)["services"].values()
        for image, build in [(s["image"], s["build"]) for s in services if "build" in s]:
            arguments = [f"--build-arg={k}={v}" for k, v in build.get("args", {}).items()]
            words = ["build", "--quiet", "--tag", image, *BUILD_ARGS, *arguments, build["context"]]
            self._images.append(image)
            docker(*words, timeout=BUILD_TIMEOUT_S)

    def image(self, service: str) -> str:
        """The image of a service in the release."""
        return f"gaqno/{service}:{self.release}"

    def compose(
        self, *words: str, check: bool = True, timeout: float = HEALTHY_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run compose on the project. With `check`, a failure is the test's, with what was said."""
        environ = {"EXAMPLES": str(self._examples), "RELEASE": self.release}
        argv = self._compose.argv(ROOT, self._examples)
        done = subprocess.run(
            [*argv, "--project-name", self.project, "--file", FILE, *words],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"{shlex.join(words)}: {done.stdout}{done.stderr}"
        return done

    def up(self, *words: str) -> None:
        """Bring it up, and block until every replica of every service is healthy."""
        self.compose("up", *self._compose.up, *words)
        for container in self.replicas():
            healthy(container)

    def down(self) -> None:
        """Remove its containers, network and volume, whatever state it is in."""
        words = ["down", "--volumes", "--remove-orphans", "--timeout", "5"]
        done = self.compose(*words, check=False)
        if "has active endpoints" in done.stderr:
            # Engine 20.10 may miscount those of containers that are gone: until it is started
            # again the network stays, and compose stops there.
            docker("volume", "rm", f"{self.project}_data")
        else:
            assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout}{done.stderr}"

    def containers(self, *services: str) -> list[Container]:
        """The containers of some services, else of all and their server; also stopped ones."""
        label = "label=com.docker.compose"
        options = ["--filter", f"{label}.project={self.project}", "--no-trunc"]
        row = '{{.ID}} {{.Label "com.docker.compose.service"}}'
        rows = docker("ps", "--all", *options, "--format", row).stdout.splitlines()
        found = sorted(tuple(each.split()) for each in rows)
        return [Container(name) for name, of in found if of in services or not services]

    def replicas(self) -> list[Container]:
        """The containers of the six services."""
        return self.containers(*SERVICES)

    @property
    def server(self) -> Endpoint:
        """Its PostgreSQL, past the pooler; the address is another after each start."""
        [container] = self.containers("postgres")
        address = container.inspect()["NetworkSettings"]["Networks"][self.network]["IPAddress"]
        return Endpoint(address, 5432, "postgres", secret("admin_password"))

    def ledger(self, database: str) -> dict[str, Any]:
        """What the database's comment says of pushes and seeds."""
        query = "select shobj_description(oid, 'pg_database') from pg_database where datname = %s"
        with self.server.connect() as connection:
            [(comment,)] = connection.execute(query, [database]).fetchall()
        found = json.loads(comment.splitlines()[-1].removeprefix("entrypoint:"))
        assert isinstance(found, dict)
        return found

    def close(self) -> None:
        """Remove all of it."""
        try:
            if self.release:
                self.down()
        finally:
            for image in self._images:
                docker("image", "rm", "--force", image, check=False)


def healthy(container: Container, timeout: float = HEALTHY_TIMEOUT_S) -> None:
    """Block until the engine says so, by what `entrypoint health` answered."""
    until(lambda: health(container) == "healthy", f"{container.name} is healthy", timeout)


def health(container: Container) -> str:
    """What the engine holds of it."""
    return str(container.inspect()["State"]["Health"]["Status"])
