"""Starts the real program in a child, and reads what it logs while it runs.

Tests synchronise on events and on lines, never on sleeps.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support import forks

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence

TIMEOUT_S = 90.0
"""How long a test waits for what comes within a second on a quiet machine."""

PROGRAMS = Path(__file__).parent / "programs"
"""Services, pushes and seeds for tests, each a Python script that is a program of its own."""


def python(name: str, *arguments: str) -> list[str]:
    """The argv of one of `PROGRAMS`."""
    return [sys.executable, str(PROGRAMS / f"{name}.py"), *arguments]


CONNECT = python("execute")
"""The argv of the least push that can be believed."""


def namespaces(*kinds: str) -> list[str]:
    """What gives a program namespaces of its own, of which it is root."""
    return ["unshare", *(["--map-root-user"] if os.geteuid() else []), *kinds]


def deaf_names(directory: Path) -> list[str]:
    """What gives a program a name server that never answers; the resolver waits 10 s for it."""
    resolv = str(directory / "resolv.conf")
    return [*namespaces("--mount", "--net"), *python("deaf_names", resolv)]


def with_hosts(hosts: Path) -> list[str]:
    """What gives a program a file of host names that the test may change."""
    mount = f'mount --bind {shlex.quote(str(hosts))} /etc/hosts && exec "$0" "$@"'
    return [*namespaces("--mount"), "sh", "-c", mount]


LAUNCHER = ("-m", "entrypoint")


@dataclass
class Program:
    """A start that runs, or ran; `events` grows as it logs."""

    process: subprocess.Popen[bytes] | forks.Forked
    events: list[dict[str, Any]] = field(default_factory=list)
    stdout: bytes = b""
    stderr: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = [threading.Thread(target=read) for read in (self._read_log, self._read_out)]
        for reader in self._readers:
            reader.start()

    @classmethod
    def start(
        cls,
        *arguments: str,
        environ: Mapping[str, str] | Mapping[bytes, bytes],
        directory: Path,
        through: Sequence[str] = (),
        launcher: Sequence[str] = LAUNCHER,
        **options: Any,  # noqa: ANN401  Popen's own
    ) -> Self:
        """Run `entrypoint ARGUMENTS` in `directory` with exactly this environment.

        `through` is a program that becomes it, such as `ip netns exec NAME`; `launcher` is what
        Python is told to run.
        """
        if launcher == LAUNCHER and not through and not options and forks.can(environ, arguments):
            return cls(forks.Forked(arguments, directory, environ))
        argv = [*through, sys.executable, "-I", *launcher, *arguments]
        return cls(
            subprocess.Popen(
                argv,
                cwd=directory,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                **options,
            )
        )

    @property
    def output(self) -> str:
        """All that it wrote, on both descriptors."""
        return (self.stdout + self.stderr).decode("utf-8", "replace")

    def names(self) -> list[str]:
        """The names of the events so far, in order."""
        return [event["event"] for event in self.events]

    def all(self, name: str) -> list[dict[str, Any]]:
        """Every event of that name so far."""
        return [event for event in self.events if event["event"] == name]

    def one(self, name: str) -> dict[str, Any]:
        """The only event of that name."""
        found = self.all(name)
        assert len(found) == 1, f"{len(found)} events {name} in {self.names()}: {self.output}"
        return found[0]

    def until(self, name: str, timeout: float = TIMEOUT_S, **fields: object) -> dict[str, Any]:
        """Block until an event of that name with these fields is there, and return it."""

        def found() -> dict[str, Any] | None:
            matching = [e for e in self.all(name) if fields.items() <= e.items()]
            return matching[0] if matching else None

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended(), timeout)
            event = found()
        assert event is not None, f"no {name} {fields}: {self.output}"
        return event

    def signal(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(signum)

    def wait(self, timeout: float = TIMEOUT_S) -> int:
        """Block until it ended and all it wrote is read; its exit code."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running after {timeout} s: {self.output}") from None
        for reader in self._readers:
            reader.join(timeout)
        return code

    def _ended(self) -> bool:
        return not any(reader.is_alive() for reader in self._readers[:1])

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.stderr += line
                try:
                    event = json.loads(line)
                except ValueError:
                    continue  # the service's own stderr
                if isinstance(event, dict) and "event" in event:
                    self.events.append(event)
                self._changed.notify_all()
        self.process.stderr.close()
        with self._changed:
            self._changed.notify_all()

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        self.stdout = self.process.stdout.read()
        self.process.stdout.close()


def until(
    true: Callable[[], object], what: str, timeout: float = TIMEOUT_S, *, every_s: float = 0.02
) -> None:
    """Block until something is true that no event tells, looking every 20 ms."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(every_s)


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def group(pid: int) -> list[int]:
    """The pids of a process group's living members."""
    members = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if os.getpgid(int(folder.name)) == pid and alive(int(folder.name)):
                    members.append(int(folder.name))
            except ProcessLookupError:
                continue
    return members


def toml(
    sections: Mapping[str, Mapping[str, object] | Sequence[Mapping[str, object]]], **top: object
) -> str:
    """A settings file; JSON's texts, numbers and lists are TOML's too. A list is `[[tables]]`."""
    lines = _keys(top)
    for name, section in sections.items():
        if isinstance(section, Mapping):
            lines += [f"[{name}]", *_keys(section)]
            continue
        for row in section:
            lines += [f"[[{name}]]", *_keys(row)]
    return "\n".join(lines) + "\n"


def _keys(section: Mapping[str, object]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in section.items()]


def words(argv: Sequence[str]) -> list[str]:
    """An argv as the program takes it."""
    return ["run", "--", *argv]
