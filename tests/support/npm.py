"""Installs packages of npm for tests, once for all processes and runs."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING

from tests.support.packages import kept

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PG = "8.23.1"
"""The version of node-postgres that tests run."""

HAS_NODE = shutil.which("node") is not None and shutil.which("npm") is not None

_NEWER_NODE = "22.23.5"


def installed(name: str, versions: Mapping[str, str]) -> Path:
    """The ``node_modules`` with these packages; see `packages.kept`.

    No install script runs, and no lock file is made. Raises `AssertionError` with npm's words.
    """
    package = json.dumps({"private": True, "dependencies": dict(versions)})

    def fill(folder: Path) -> None:
        (folder / "package.json").write_text(package)
        options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
        command = ["npm", "install", *options]
        done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return kept("npm", name, package, fill) / "node_modules"


@cache
def newer_node() -> Path:
    """A Node for what no longer runs on the oldest one that services have."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    package = f"node-linux-{machine}"
    return installed("node", {package: _NEWER_NODE}) / package / "bin" / "node"
