"""A start in a fork, as most tests have it, is the start that exec would have made."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.support import forks
from tests.support.stage import service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.program import Program
    from tests.support.stage import Stage

VARYING = ("timestamp", "elapsed_s", "pid", "application_name")


def told(program: Program) -> list[dict[str, Any]]:
    """Its events without what no two starts share."""
    return [{k: v for k, v in event.items() if k not in VARYING} for event in program.events]


def test_the_service_and_the_log_are_the_same(stage: Stage) -> None:
    """Environment, descriptors, umask, folder and argv of the service; signals; every event."""
    status = ["grep", "-E", "^(Sig|Shd|Umask|NoNewPrivs|Cap)", "/proc/self/status"]
    stage.environ |= {"ODD": "caf\udce9\n=", "PGHOST": "nowhere"}
    assert stage.start(command="prepare").wait() == 0
    for argv in (service(), status):
        forked = stage.start(*argv)
        assert forked.wait() == 0
        executed = stage.start(*argv, through=["env"])
        assert executed.wait() == 0

        assert isinstance(forked.process, forks.Forked)
        assert not isinstance(executed.process, forks.Forked)
        assert told(forked) == told(executed)
        # How many signals are queued is the user's, of all his processes; their limit is compared.
        out = [re.sub(rb"SigQ:\t\d+", b"", each.stdout) for each in (forked, executed)]
        if argv != status:
            out = [json.loads(each) | {"pid": 0} for each in out]
        assert out[0] == out[1]


@pytest.mark.parametrize("name", ["LC_ALL", "TZ", "PYTHONUTF8", "LD_PRELOAD"])
def test_what_an_interpreter_reads_when_it_begins_is_executed(stage: Stage, name: str) -> None:
    """No fork can have it."""
    stage.environ[name] = ""
    program = stage.start()

    assert not isinstance(program.process, forks.Forked)
    assert program.wait() == 0


def test_its_end_is_told(stage: Stage, tmp_path: Path) -> None:
    """A signal's number is negative, as in Popen; a start that ended can be asked again."""
    stage.gates = [{"url": f"http+unix://{quote(str(tmp_path), safe='')}"}]  # never ready
    program = stage.start()
    program.until("gates.started")

    program.process.kill()

    assert program.wait() == -9
    assert program.process.poll() == -9
    program.process.kill()  # nobody
