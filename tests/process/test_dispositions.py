"""Signals that something ignored on our way are given back to the service."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.program import namespaces

SCRIPT = """
import signal
from entrypoint.process import signals
ignored = [int(word) for word in {before!r}.split()]
for number in ignored:
    signal.signal(number, signal.SIG_IGN)
signals.install()
for number in {after}:
    signal.signal(number, signal.SIG_IGN)
signals.restore()
print(next(line for line in open("/proc/self/status") if line.startswith("SigIgn")).split()[1])
"""


@pytest.mark.parametrize(
    ("before", "after", "ignored"),
    [
        ("", [], 0),
        ("", [34], 0),
        ("", [10, 34, 40, 64], 0),
        ("34", [40], 1 << 33),
        ("10 2", [12], 1 << 9 | 1 << 1),
    ],
)
def test_only_what_came_ignored_stays_so(before: str, after: list[int], ignored: int) -> None:
    """A library's leftovers are undone, the container's own choice is not."""
    came = subprocess.run(["grep", "^SigIgn", "/proc/self/status"], capture_output=True, check=True)
    inherited = int(came.stdout.split()[1], 16)  # whoever started the tests may ignore some
    script = SCRIPT.format(before=before, after=after)
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, check=True, text=True
    )

    assert int(done.stdout, 16) == ignored | inherited


AT_THE_END = """
import os, signal, sys
from entrypoint import errors
from entrypoint.process import signals
signals.install()
try:
    signals.restore()
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    os.execv("/bin/echo", ["echo", "the service runs"])
except errors.Terminated as ended:
    print("ended by", ended.signum, "with", *signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
@pytest.mark.parametrize("first", [True, False], ids=["PID 1", "another"])
def test_a_signal_between_restore_and_exec(name: str, *, first: bool) -> None:
    """It ends the start: as PID 1, where the kernel would drop it, by its exception."""
    through = namespaces("--pid", "--fork", "--mount-proc") if first else []
    argv = [*through, sys.executable, "-I", "-c", AT_THE_END, name]
    done = subprocess.run(argv, capture_output=True, check=False, text=True)

    number = signal.Signals[name].value
    if first:
        assert (done.returncode, done.stdout) == (0, f"ended by {number} with\n"), done.stderr
    else:
        assert (done.returncode, done.stdout) == (-number, ""), done.stderr


LATE = """
import signal
from entrypoint.process import signals
from entrypoint.errors import Terminated
signals.install()
said = []
try:
    with signals.late():
        signal.raise_signal(signal.SIGTERM)
        said.append("begun")
    said.append("went on")
except Terminated:
    said.append("ended")
with signals.late():
    said.append("tidied")
print(*said)
"""


def test_a_signal_waits_for_what_is_being_begun() -> None:
    """It is raised behind a body that is `late`, and once only: what tidies up may be late, too."""
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["begun", "ended", "tidied"]
