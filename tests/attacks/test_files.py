"""A file that holds a start up: what the settings name is a FIFO, a device, endless, or huge.

Somebody who may write into a volume, or a mistake in a compose file, is enough for each of them.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from entrypoint import files, fingerprint
from tests.support.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "postgres://u:canary-pw@127.0.0.1:1/d"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def tape(path: Path) -> None:
    path.symlink_to("/dev/ptmx")


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def folder(path: Path) -> None:
    path.mkdir()


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def nowhere(path: Path) -> None:
    path.symlink_to("missing")


def kernel_memory(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


def page_map(path: Path) -> None:
    path.symlink_to("/proc/self/pagemap")


HOSTILE = [
    *(fifo, zeros, tape, unix_socket, folder, sparse, loop, nowhere, kernel_memory, page_map)
]


def refused(directory: Path, **environ: str) -> str:
    """The problems of a start that ends with 3 and a remedy, in little time and memory."""
    given = {"PATH": os.environ["PATH"], "ENTRYPOINT_WAIT_TIMEOUT": "0", **environ}
    limited = ["prlimit", "--as=2000000000"]
    program = Program.start(
        "run", "--", "true", environ=given, directory=directory, through=limited
    )
    assert program.wait(20) == 3, program.output
    event = program.one("settings.failed")
    assert event["remedy"].endswith(".")
    assert "canary" not in program.output
    return str(event["error"])


@pytest.mark.parametrize("make", HOSTILE)
def test_the_settings_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Exit 3 names entrypoint.toml, also where it is a link that leads nowhere."""
    make(tmp_path / "entrypoint.toml")
    assert "entrypoint.toml cannot be read (" in refused(tmp_path, DATABASE_URL=SECRET)


@pytest.mark.parametrize("make", HOSTILE)
def test_the_registry(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Exit 3 names the variable that names it."""
    make(tmp_path / "services.toml")
    error = refused(tmp_path, DATABASE_URL=SECRET, ENTRYPOINT_SERVICES="services.toml")
    assert "ENTRYPOINT_SERVICES: " in error


@pytest.mark.parametrize("name", ["DATABASE_URL", "ENTRYPOINT_ADMIN_URL", "ENTRYPOINT_NOTIFY_URL"])
@pytest.mark.parametrize("make", HOSTILE)
def test_a_secret(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    """Exit 3 names the variable, and no byte of what was read."""
    make(tmp_path / "secret")
    environ = {"DATABASE_URL": SECRET, name: "", f"{name}_FILE": "secret"}
    error = refused(tmp_path, **environ)
    assert re.search(f"{name}_FILE names .+, which (cannot be read|is a folder) \\(", error)


INPUTS = '[push]\ncommand = ["true"]\ninputs = ["schema", "input"]\n'


@pytest.mark.parametrize("make", HOSTILE)
def test_an_input(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """It is named where it is no file, cannot be read or leads outside, and is not opened then."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "entrypoint.toml").write_text(INPUTS)
    (app / "schema").write_text("x")
    make(app / "input")
    error = refused(app, DATABASE_URL=SECRET)
    assert "push.inputs: " in error
    assert "input' " in error


def test_an_input_of_the_root() -> None:
    """Where the service works in /, the kernel's own files are within its patterns."""
    with pytest.raises(OSError, match="Input/output error"):
        fingerprint.fingerprint([], ["proc/self/mem"], "/")
    assert len(fingerprint.fingerprint([], ["proc/self/status"], "/")) == 64


def test_a_swap_between_look_and_open(tmp_path: Path) -> None:
    """A file that becomes a FIFO after we looked at it is refused when it is opened."""
    os.mkfifo(tmp_path / "input")
    with pytest.raises(OSError, match="not a regular file"):
        files.read(tmp_path / "input", 10)


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Path]:
    """A file to which somebody writes as fast as we read."""
    path = tmp_path / "growing"
    path.write_bytes(b"x")
    over = threading.Event()

    def grow() -> None:
        with path.open("ab") as file:
            while not over.is_set() and file.tell() < 1 << 28:
                file.write(b"x" * (1 << 20))
                file.flush()

    thread = threading.Thread(target=grow)
    thread.start()
    yield path
    over.set()
    thread.join()


def test_a_file_that_grows(growing: Path) -> None:
    """Its reader stops at the bound, however large it is by then."""
    deadline = time.monotonic() + 20
    while growing.stat().st_size < 1 << 22:
        assert time.monotonic() < deadline
    with pytest.raises(OSError, match="larger than 1048576 bytes"):
        files.read(growing, 1 << 20)


def test_a_size_that_lies() -> None:
    """Files of /proc say that they are empty; they are bounded by what comes."""
    assert files.read("/proc/self/status", 1 << 16).startswith(b"Name:")
    with pytest.raises(OSError, match="larger than 10 bytes"):
        files.read("/proc/self/status", 10)


def test_inputs_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many files that are small enough by themselves are not, and too many files are not."""
    for number in range(4):
        (tmp_path / f"{number}").write_bytes(b"x" * 300)
    monkeypatch.setattr(fingerprint, "MAX_BYTES", 1200)
    assert len(fingerprint.fingerprint([], ["**"], str(tmp_path))) == 64
    monkeypatch.setattr(fingerprint, "MAX_BYTES", 1199)
    with pytest.raises(OSError, match="larger than 1199 bytes; name fewer") as large:
        fingerprint.fingerprint([], ["**"], str(tmp_path))
    assert large.value.filename == str(tmp_path / "3")
    monkeypatch.setattr(fingerprint, "MAX_FILES", 3)
    with pytest.raises(OSError, match="more than 3 files; name fewer"):
        fingerprint.fingerprint([], ["**"], str(tmp_path))


CONTROL = "import sys; open(sys.argv[1], 'rb').read(1 << 31)"


@pytest.mark.parametrize("make", [fifo, zeros])
def test_the_control(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A plain open and read waits for ever, or takes all the memory that there is."""
    make(tmp_path / "file")
    argv = ["prlimit", "--as=500000000", sys.executable, "-c", CONTROL, str(tmp_path / "file")]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as reader:
        with suppress(subprocess.TimeoutExpired):
            reader.wait(2)
        failed = reader.poll()
        reader.kill()
        assert reader.stderr
        assert failed is None or b"MemoryError" in reader.stderr.read()
