"""In a container the service cannot tell that we were there."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import docker, once, running

if TYPE_CHECKING:
    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint

TELL = """
tr '\\0' '\\n' < /proc/1/environ | sort; echo "pid $$"; pwd; umask
ls /proc/1/fd; readlink /proc/1/fd/0 | sed 's/[0-9][0-9]*//'
tr '\\0' '\\n' < /proc/1/cmdline | head -n 2
while read -r name values; do
  case $name in
    Name:|Pid:|PPid:|Uid:|Gid:|Groups:|Sig[BIC]*:|Cap*|NoNewPrivs:|Seccomp:) echo $name $values
  esac
done < /proc/1/status
ulimit -a; cat /proc/1/oom_score_adj
"""
"""What a service can see of itself; its status without a child."""

LOOK = "grep -l entrypoint /proc/1/maps /proc/1/environ /proc/1/cmdline; ps 2>/dev/null; true"


@pytest.fixture
def options(server: Endpoint, database: str, role: RoleFactory) -> list[str]:
    """What a platform gives to both containers."""
    owner = role("createdb")
    url = server.url(database, owner.name, owner.password)
    return [
        *("--network", "host", "--hostname", "here", "--workdir", "/usr/local"),
        *("--env", f"DATABASE_URL={url}", "--env", "SERVICE_NAME=demo", "--env", "EMPTY="),
        *("--env", "ENTRYPOINT_SKIP=push"),  # it has none
        *("--env", "PYTHONPATH=/nowhere", "--env", "LD_LIBRARY_PATH=/nowhere"),
        *("--env", "PGHOST=elsewhere", "--env", "PORT=4003"),
    ]


def test_a_service_sees_what_it_would_see_without_us(
    base: str, image: str, options: list[str]
) -> None:
    """Environment, PID, descriptors, signals, user, capabilities, folder and limits are equal."""
    without = once(base, "sh", "-c", TELL, options=options).stdout
    cold = once(image, "sh", "-c", TELL, options=options)
    warm = once(image, "sh", "-c", TELL, options=options)

    assert "SigIgn" in without
    assert "pid 1\n" in without
    assert cold.stdout == without
    assert "database.created" in cold.stderr
    assert warm.stdout == without
    assert "database.created" not in warm.stderr


def test_nothing_of_us_is_left_in_the_process(image: str, options: list[str]) -> None:
    """No library of ours is mapped, no variable names our folder, and no process of ours runs."""
    seen = once(image, "sh", "-c", LOOK, options=options).stdout

    assert "/opt/entrypoint" not in seen
    assert "python" not in seen


def test_a_start_writes_nothing_but_its_state(image: str, options: list[str]) -> None:
    """As root on a writable image, only the file for probes is made, and it stays one file."""
    with running(image, "true", options=options) as container:
        assert container.wait() == 0
        docker("start", container.name)
        assert container.wait() == 0
        changed = docker("diff", container.name).stdout
    assert re.fullmatch(r"C /run\nA /run/entrypoint-\d+\n", changed), changed


def test_docker_stop_reaches_the_service(image: str, options: list[str]) -> None:
    """PID 1 is the service: its own handler hears SIGTERM, and its exit code is the container's."""
    argv = ["sh", "-c", "trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done"]
    with running(image, *argv, options=options) as container:
        container.until("ready")
        docker("stop", "--time", "30", container.name)
        assert container.inspect()["State"]["ExitCode"] == 42


def test_docker_stop_ends_a_start_that_waits(image: str) -> None:
    """While the server is awaited SIGTERM ends us, though we are PID 1, with 143 and no kill."""
    options = ["--env", "DATABASE_URL=postgresql://u:p@192.0.2.1:5432/d?connect_timeout=60"]
    options += ["--env", "SERVICE_NAME=demo", "--env", "ENTRYPOINT_SKIP=push"]
    with running(image, "true", options=options) as container:
        container.until("wait.started")
        docker("stop", "--time", "30", container.name)
        assert container.inspect()["State"]["ExitCode"] == 143
        last = json.loads(container.output()[1].splitlines()[-1])
        assert last["event"] == "wait.failed"


def test_the_handoff_costs_the_same_at_any_limit(base: str, image: str) -> None:
    """As many descriptors as the engine allows, which musl's Python would try one by one."""
    options = ["--env", "ENTRYPOINT_SKIP=push,seed", "--env", "DATABASE_URL=postgresql://u:p@h/d"]
    most = int(once(base, "sh", "-c", "ulimit -H -n").stdout)

    def ticks(limit: int) -> int:
        """Hundredths of a second that PID 1 took up to what became of it."""
        limits = ["--ulimit", f"nofile={limit}:{limit}"]
        stat = once(image, "cat", "/proc/self/stat", options=[*options, *limits]).stdout
        user, system = stat.rpartition(")")[2].split()[11:13]
        return int(user) + int(system)

    assert min(ticks(most) for _ in range(3)) < min(ticks(1024) for _ in range(3)) + 30
