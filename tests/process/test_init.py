"""A start under an init that stays: tini, which `docker run --init` brings too."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from tests.process.test_health import health
from tests.support.program import alive, python, until
from tests.support.stage import Stage, service

if TYPE_CHECKING:
    from tests.support.program import Program

if shutil.which("tini") is None:
    pytest.skip("tini is not installed", allow_module_level=True)

# As a subreaper it does without being PID 1 what it does as PID 1.
TINI = ["tini", "-s", "--"]


def under_tini(stage: Stage, *argv: str) -> Program:
    stage.environ["ENTRYPOINT_STATE_DIR"] = str(stage.directory)
    return stage.start(*argv, through=TINI)


def test_the_service_is_tini_s_child_with_our_pid(stage: Stage) -> None:
    """We exec there as well: tini's only child is the service, and a probe finds it."""
    program = under_tini(stage, *service("serve-and-say"))
    program.until("service.ready")
    until(lambda: health(stage.directory).code == 0, "it is healthy")
    program.signal(signal.SIGUSR1)
    program.until("service.signalled", signal="SIGUSR1")
    program.signal(signal.SIGTERM)
    assert program.wait() == 143


def test_the_service_s_exit_code_is_tini_s(stage: Stage) -> None:
    """Nothing is lost between the three."""
    assert under_tini(stage, *service("exit", "42")).wait() == 42


def test_a_failed_start_ends_tini_with_our_code(stage: Stage) -> None:
    """The documented exit code reaches the platform."""
    stage.push = python("push", "exit", "3")
    assert under_tini(stage).wait() == 7


def test_sigterm_through_tini_ends_a_push(stage: Stage) -> None:
    """The push and its sessions are gone, and the exit code is that of SIGTERM."""
    stage.push = python("push", "ready", "sleep", "60")
    program = under_tini(stage)
    until(lambda: program.all("push.printed"), "it pushes")
    pid = int(program.all("push.printed")[0]["line"].rpartition(" ")[2].rstrip(")"))
    program.signal(signal.SIGTERM)
    assert program.wait() == 143
    assert not alive(pid)
    assert stage.sessions() == []
