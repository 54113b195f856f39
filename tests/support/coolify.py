"""How Coolify waits for a new container, and what its deployment log then shows.

Written after `ApplicationDeploymentJob::health_check` as of August 2026 (coolify@379abb25), which
sleeps the whole start period and then inspects the container a number of times.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.engine import docker

if TYPE_CHECKING:
    from tests.support.engine import Container

CHARACTERS = re.compile(r"^[a-zA-Z0-9 \-_.\/:=@,+]+$")
"""What a check of the type `cmd` may consist of."""

COMMAND = "/opt/entrypoint/bin/entrypoint health"


def http(port: int, path: str) -> str:
    """The check of the type HTTP, which Coolify writes itself."""
    url = f"http://localhost:{port}{path}"
    return f"curl -s -X GET -f {url} > /dev/null || wget -q -O- {url} > /dev/null || exit 1"


@dataclass(frozen=True)
class Patience:
    """The fields of the health check, as Coolify fills them in."""

    retries: int = 10
    interval_s: int = 5
    start_period_s: int = 5
    timeout_s: int = 5

    def options(self, command: str) -> list[str]:
        """The same for the engine, which Coolify gives them to as well."""
        return [
            *("--health-cmd", command, "--health-retries", str(self.retries)),
            *("--health-interval", f"{self.interval_s}s", "--health-timeout", f"{self.timeout_s}s"),
            *("--health-start-period", f"{self.start_period_s}s"),
        ]


@dataclass
class Deployment:
    """What became of one."""

    log: list[str] = field(default_factory=list)
    goes_on: bool = False
    """Whether the old container is stopped, and not the new one removed."""


def deploy(container: Container, patience: Patience) -> Deployment:
    """Wait for a container that was just started; one that is not healthy in time is removed.

    The looks are where they would be if none took any time, so that this machine's load moves none.
    """
    deployment = Deployment()
    started = time.monotonic()
    for attempt in range(1, patience.retries + 1):
        look_s = patience.start_period_s + (attempt - 1) * patience.interval_s
        time.sleep(max(0.0, started + look_s - time.monotonic()))
        health = container.inspect()["State"]["Health"]
        status = health["Status"]
        deployment.log.append(f"Attempt {attempt} of {patience.retries} | status: {status}")
        if health["Log"]:
            last = health["Log"][-1]
            shown = f"Healthcheck logs: {last['Output']} | Return code: {last['ExitCode']}"
            deployment.log.append(shown)
        if status != "starting":
            deployment.goes_on = status == "healthy"
            break
    else:
        time.sleep(patience.interval_s)
    if not deployment.goes_on:
        deployment.log += docker("logs", "--tail", "100", container.name).stderr.splitlines()
        docker("rm", "--force", container.name)
    return deployment


def events(deployment: Deployment) -> list[str]:
    """The events among the lines that the container wrote, in the deployment log."""
    return [json.loads(line)["event"] for line in deployment.log if line.startswith("{")]
