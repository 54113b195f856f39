"""Signals that something ignored on our way are given back to the service."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import signal
from entrypoint import signals
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
