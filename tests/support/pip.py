"""Installs packages of Python for tests, beside those of the tests themselves."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.packages import kept

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def installed(name: str, versions: Mapping[str, str]) -> Path:
    """The folder with these packages and no others, for PYTHONPATH; see `packages.kept`.

    Only wheels are taken, so that nothing of a package runs. Raises `AssertionError` with pip's
    words.
    """
    pins = [f"{package}=={version}" for package, version in versions.items()]

    def fill(folder: Path) -> None:
        options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--target"]
        command = [sys.executable, "-m", "pip", "install", *options, str(folder), *pins]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return kept("pip", name, " ".join([sys.version, *pins]), fill)
