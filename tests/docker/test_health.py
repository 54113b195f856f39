"""The probe inside containers: whatever is taken from them, and under the engine's own init."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.docker.test_restrictions import RESTRICTIONS
from tests.support.engine import Container, docker, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

HEALTH = ("/opt/entrypoint/bin/entrypoint", "health")

SKIPPED = ["--env", "ENTRYPOINT_SKIP=push,seed", "--env", "DATABASE_URL=postgresql://u:p@h/d"]
"""A start that only hands off."""

NOWHERE = [
    *("--read-only", "--tmpfs", "/run:ro", "--tmpfs", "/tmp:ro"),  # noqa: S108  a mount
    *("--mount", "type=tmpfs,destination=/dev/shm,tmpfs-mode=0555", "--user", "1000650000:0"),
]


def probed(container: Container) -> tuple[int, str]:
    done = container.execute(*HEALTH, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture(params=RESTRICTIONS)
def restricted(image: str, request: pytest.FixtureRequest) -> Iterator[Container]:
    """A service that runs under one of the restrictions."""
    options = [*SKIPPED, *RESTRICTIONS[request.param]]
    with running(image, "sleep", "300", options=options) as container:
        container.until("handoff.executed")
        yield container


def test_a_probe_finds_the_state_whatever_is_taken_away(restricted: Container) -> None:
    """Read-only, any user, no capabilities, 64 MB, no HOME: the service is found to run."""
    until(lambda: probed(restricted)[0] == 0, "it runs")
    assert probed(restricted)[1].startswith("running: started ")


def test_where_nothing_can_be_written_a_start_warns(image: str) -> None:
    """It goes on, and the probe says that it knows nothing."""
    with running(image, "sleep", "300", options=[*SKIPPED, *NOWHERE]) as container:
        container.until("handoff.executed")
        events = [json.loads(line)["event"] for line in container.output()[1].splitlines()]
        code, said = probed(container)
    assert "state.not_written" in events
    assert code == 1
    assert said.startswith("not started: ")


def test_a_folder_of_ones_own_takes_the_state(image: str) -> None:
    """ENTRYPOINT_STATE_DIR names a mount that can be written to, for start and probe alike."""
    options = [*SKIPPED, *NOWHERE, "--tmpfs", "/state:mode=1777"]
    options += ["--env", "ENTRYPOINT_STATE_DIR=/state"]
    with running(image, "sleep", "300", options=options) as container:
        until(lambda: probed(container)[0] == 0, "it runs")


def test_a_container_that_we_did_not_start_says_so(image: str) -> None:
    """A platform's field in place of our ENTRYPOINT is seen by the first probe."""
    with running(image, "300", options=["--entrypoint", "sleep"]) as container:
        code, said = probed(container)
    assert code == 1
    assert said.startswith("not started: ")


def test_what_is_tried_in_a_container_says_nothing_of_it(image: str) -> None:
    """A `prepare` that fails in one that serves, whose own `prepare` is long over."""
    argv = ["-c", "/opt/entrypoint/bin/entrypoint prepare && exec sleep 300"]
    with running(image, *argv, options=["--entrypoint", "sh", *SKIPPED]) as container:
        until(lambda: probed(container)[0] == 0, "it is prepared")
        tried = "DATABASE_URL=postgresql://u:p@h/postgres /opt/entrypoint/bin/entrypoint prepare"
        assert container.execute("sh", "-c", tried, check=False).returncode == 3
        assert probed(container)[1].startswith("running: prepared ")


def test_a_container_that_was_restarted_keeps_one_state(image: str) -> None:
    """Its former lives' are gone with the next start, and what else is called so is not."""
    theirs = "/run/entrypoint-prod.toml"
    with running(image, "sleep", "300", options=SKIPPED) as container:
        until(lambda: probed(container)[0] == 0, "it runs")
        container.execute("touch", theirs)
        for _ in range(2):
            docker("restart", "--time", "0", container.name)
            until(lambda: probed(container)[0] == 0, "it runs again")
        left = container.execute("sh", "-c", "ls -d /run/entrypoint-*").stdout.split()
    assert theirs in left
    assert len(left) == 2


def test_the_engine_s_init_changes_nothing(image: str) -> None:
    """Under `--init` the service is its child, is probed, and hears SIGTERM."""
    argv = ["sh", "-c", "trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done"]
    with running(image, *argv, options=["--init", *SKIPPED]) as container:
        container.until("ready")
        until(lambda: probed(container)[0] == 0, "it runs")
        first = container.execute("cat", "/proc/1/cmdline").stdout
        docker("kill", "--signal", "TERM", container.name)
        assert container.wait() == 42
    assert "init" in first.split("\0")[0]


def test_the_state_of_a_service_that_died_under_init_is_known(image: str) -> None:
    """A start that was killed while the container lives on is not taken for one that goes on."""
    argv = ["-c", "/opt/entrypoint/bin/entrypoint run -- sleep 1 & sleep 300"]
    options = ["--entrypoint", "sh", *SKIPPED]
    with running(image, *argv, options=options) as container:
        until(lambda: "has ended" in probed(container)[1], "the service has ended")
        assert probed(container)[0] == 1
