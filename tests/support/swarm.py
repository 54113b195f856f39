"""deploy/swarm/stack.yml on a Swarm of one node, as a team deploys it, and watched from outside."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entrypoint.postgres.ledger import Ledger, parse
from tests.support.engine import Container, docker, running, unique
from tests.support.program import until
from tests.support.stage import TENANT

if TYPE_CHECKING:
    from collections.abc import Iterator

STACK = Path(__file__).parents[2] / "deploy/swarm/stack.yml"
DATABASE = "gaqno_rpg_db"
REPLICAS = 5
UPDATE_TIMEOUT_S = 240.0
LOOK_S = 0.3

ASK = """
const dns = require('node:dns').promises;
async function ask(address) {
  const answer = await fetch(`http://${address}:4003/v1/health`, {
    signal: AbortSignal.timeout(5000),
  });
  if (!answer.ok) throw new Error(answer.status);
}
async function main() {
  for (;;) {
    const began = new Date().toISOString();
    // Not resolve4, which keeps an answer for as long as it says: 600 s.
    const found = await dns.lookup('rpg-service', { all: true }).catch(() => []);
    const addresses = found.map(({ address }) => address);
    try {
      await Promise.any(addresses.map(ask));
      console.log('served');
    } catch (error) {
      const reasons = error.errors.map((each) => each.cause?.code ?? each.message);
      console.log(`${began} nobody of ${addresses}: ${reasons}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
main();
"""
"""A client on the network: ten times a second, whether any replica that Swarm names answers 200."""


@contextmanager
def joined() -> Iterator[None]:
    """A Swarm of this engine alone, left again; one that is there already is used and stays."""
    if docker("info", "--format", "{{.Swarm.LocalNodeState}}").stdout.strip() == "active":
        yield
        return
    docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        yield
    finally:
        docker("swarm", "leave", "--force", check=False)


@contextmanager
def keeps_data() -> Iterator[None]:
    """This engine's node is the one that keeps the server's data, as the stack wants it."""
    node = docker("info", "--format", "{{.Swarm.NodeID}}").stdout.strip()
    docker("node", "update", "--label-add", "rpg-data=true", node)
    try:
        yield
    finally:
        docker("node", "update", "--label-rm", "rpg-data", node, check=False)


class Stack:
    """A deployed stack; `deploy` makes and updates it."""

    def __init__(self, name: str, image: str, token: str) -> None:
        self.name, self._image, self._token = name, image, token
        self.service = f"{name}_rpg-service"

    def deploy(self, release: str, *more: Path) -> None:
        """Hand a release to Swarm, which answers before anything is done.

        More files are laid over that of the stack.
        """
        environ = {"IMAGE": self._image, "RELEASE": release}
        environ |= {"SECRETS": self._token, "SEED_TENANT_ID": TENANT}
        files = [f"--compose-file={each}" for each in (STACK, *more)]
        docker("stack", "deploy", "--resolve-image=never", *files, self.name, environ=environ)

    def updated(self, state: str) -> None:
        """Block until the update ended so."""
        until(lambda: self._update_state() == state, state, UPDATE_TIMEOUT_S, every_s=LOOK_S)

    def healthy(self, release: str) -> None:
        """Block until the replicas are of this release, all of them healthy, and no others are."""
        expected = [self._tag(release)] * REPLICAS
        until(
            lambda: list(self._listed("--filter", "health=healthy").values()) == expected,
            f"{REPLICAS} healthy replicas of {release}",
            UPDATE_TIMEOUT_S,
            every_s=LOOK_S,
        )

    def containers(self, release: str) -> list[Container]:
        """The replicas of a release, also those that ended, as far as Swarm keeps them."""
        listed = self._listed("--all")
        return [Container(name) for name, tag in listed.items() if tag == self._tag(release)]

    def events(self, release: str) -> list[dict[str, Any]]:
        """What all starts of a release have logged."""
        found = []
        for container in self.containers(release):
            for line in container.output()[1].splitlines():
                with suppress(ValueError):  # the service's own
                    found.append(json.loads(line) | {"container": container.name})
        return found

    def names(self, release: str, *names: str) -> dict[str, int]:
        """How often its starts have logged each of these events."""
        logged = [event["event"] for event in self.events(release)]
        return {name: logged.count(name) for name in names}

    def servers(self) -> list[Container]:
        """The server's container, and those of it that ended."""
        return [Container(name) for name in self._listed("--all", service=f"{self.name}_postgres")]

    def server_errors(self) -> str:
        """What Swarm says of the server's tasks, such as why one is nowhere."""
        words = ["service", "ps", "--no-trunc", "--format", "{{.Error}}", f"{self.name}_postgres"]
        return docker(*words).stdout

    def query(self, statement: str) -> str:
        """Ask the server, in its own container."""
        psql = ["psql", "-h", "127.0.0.1", "-U", "postgres", "-d", DATABASE, "-Atc", statement]
        password = f"PGPASSWORD={self._token}"
        return docker("exec", "--env", password, self.servers()[0].name, *psql).stdout.strip()

    def ledger(self) -> Ledger:
        """What the service's database says of its pushes and seeds."""
        catalog = "from pg_database where datname = current_database()"
        return parse(self.query(f"select shobj_description(oid, 'pg_database') {catalog}"))

    def columns(self) -> set[str]:
        """The columns of the table that the releases differ in."""
        told = self.query(
            "select attname from pg_attribute where attrelid = 'rpg_heroes'::regclass "
            "and attnum > 0 and not attisdropped"
        )
        return set(told.split())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Have a client ask all the time; the block is one in which it was always answered."""
        options = ["--network", f"{self.name}_rpg", "--entrypoint", "node"]
        with running("node:20-alpine", "-e", ASK, options=options) as client:
            client.until("\n")
            yield
            told = client.output()[0].splitlines()
            unserved = [each for each in enumerate(told, 1) if each[1] != "served"]
            assert not unserved, f"of {len(told)}: {unserved}"
            assert len(told) > 20, told

    def remove(self) -> None:
        """Remove it with its database, and block until nothing of it is left."""
        label = f"label=com.docker.stack.namespace={self.name}"
        docker("stack", "rm", self.name, check=False)
        deadline = time.monotonic() + UPDATE_TIMEOUT_S
        # A container that Swarm waits for, or has forgotten, would keep the network.
        while left := docker("ps", "--all", "--quiet", "--filter", label).stdout.split():
            docker("rm", "--force", *left, check=False)
            assert time.monotonic() < deadline, docker("ps", "--all", "--filter", label).stdout
        while left := docker("network", "ls", "--quiet", "--filter", label).stdout.split():
            assert time.monotonic() < deadline, docker("network", "inspect", *left).stdout
            time.sleep(LOOK_S)
        docker("volume", "rm", "--force", f"{self.name}_data", check=False)

    def _tag(self, release: str) -> str:
        return f"{self._image}:{release}"

    def _listed(self, *filters: str, service: str = "") -> dict[str, str]:
        """Containers of a service: each one's name, and its image."""
        label = f"label=com.docker.swarm.service.name={service or self.service}"
        words = ["ps", "--filter", label, *filters, "--format", "{{.Names}} {{.Image}}"]
        return dict(line.split() for line in docker(*words).stdout.splitlines())

    def _update_state(self) -> str:
        words = ["service", "inspect", "--format", "{{json .UpdateStatus}}", self.service]
        status = json.loads(docker(*words).stdout)
        return str(status and status["State"])


@contextmanager
def stack(image: str) -> Iterator[Stack]:
    """A stack to deploy, with its secrets; removed at the end with all that it made."""
    token = secrets.token_hex(6)
    url = f"postgresql://postgres:{token}@postgres:5432/{DATABASE}"
    made = {f"rpg_database_url_{token}": url, f"rpg_postgres_password_{token}": token}
    deployed = Stack(unique("stack"), image, token)
    try:
        for name, value in made.items():
            docker("secret", "create", name, "-", stdin=value)
        yield deployed
    finally:
        deployed.remove()
        docker("secret", "rm", *made, check=False)
