"""What a container runtime does to processes: kills all of them, cuts them off."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.program import Program

CAN_CUT = os.geteuid() == 0 and shutil.which("ip") is not None
"""Whether hosts of our own can be made, which takes root and iproute2."""


def descendants(pid: int) -> list[int]:
    """The children of a process, their children, and so on."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def kill(program: Program) -> None:
    """SIGKILL to all its processes, as when a container is killed or its machine dies."""
    for pid in (program.process.pid, *descendants(program.process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Host:
    """Another host, as a network namespace with a cable to this one that can be cut."""

    def __init__(self) -> None:
        token = uuid.uuid4().hex[:6]
        self.name, self._here = f"ep-{token}", f"ep{token}a"
        number = int(token, 16) % 250
        self.server_address = f"10.213.{number}.1"
        self._run("netns", "add", self.name)
        self._there = f"ep{token}b"
        ends = [self._here, "type", "veth", "peer", self._there, "netns", self.name]
        self._run("link", "add", *ends)
        self._run("addr", "add", f"{self.server_address}/30", "dev", self._here)
        self._run("link", "set", self._here, "up")
        for words in (
            ["addr", "add", f"10.213.{number}.2/30", "dev", self._there],
            ["link", "set", self._there, "up"],
            ["link", "set", "lo", "up"],
        ):
            self._run("-n", self.name, *words)

    def cut(self) -> None:
        """Pull the cable: from now on every packet is lost, and nobody is told."""
        self._run("-n", self.name, "link", "set", self._there, "down")

    def close(self) -> None:
        """Remove it; what still runs there runs on."""
        self._run("netns", "del", self.name)

    @staticmethod
    def _run(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def host() -> Iterator[Host]:
    """A `Host` that is removed at the end."""
    made = Host()
    try:
        yield made
    finally:
        made.close()
