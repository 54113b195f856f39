"""Installs packages of npm for tests, once for all processes and runs."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PG = "8.23.1"
"""The version of node-postgres that tests run."""

HAS_NODE = shutil.which("node") is not None and shutil.which("npm") is not None

_NEWER_NODE = "22.23.5"


def installed(name: str, versions: Mapping[str, str]) -> Path:
    """The ``node_modules`` with these packages, in the temp folder, where it stays for later runs.

    No install script runs, and no lock file is made. Blocks while another process installs the
    same; raises `AssertionError` with npm's words, and then leaves nothing behind.
    """
    package = json.dumps({"private": True, "dependencies": dict(versions)})
    home = Path(tempfile.gettempdir()) / f"entrypoint-npm-{os.geteuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    assert home.lstat().st_uid == os.geteuid(), f"{home} is not ours: remove it"
    folder = home / f"{name}-{hashlib.sha256(package.encode()).hexdigest()[:8]}"
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _install(package, Path(tempfile.mkdtemp(dir=home)), folder)
    return folder / "node_modules"


@cache
def newer_node() -> Path:
    """A Node for what no longer runs on the oldest one that services have."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    package = f"node-linux-{machine}"
    return installed("node", {package: _NEWER_NODE}) / package / "bin" / "node"


def _install(package: str, unfinished: Path, folder: Path) -> None:
    (unfinished / "package.json").write_text(package)
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    command = ["npm", "install", *options]
    try:
        done = subprocess.run(command, check=False, cwd=unfinished, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
