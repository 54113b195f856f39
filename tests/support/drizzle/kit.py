"""Installs drizzle-kit, and puts it and a schema into a service's folder."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.drizzle.world import javascript

if TYPE_CHECKING:
    from tests.support.drizzle.world import Schema

VERSIONS = {
    "0.21.4": "0.30.10",
    "0.31.8": "0.45.2",
    "0.31.11": "0.45.2",
    "1.0.0-rc.5": "1.0.0-rc.5",
}
"""Versions of drizzle-kit, and of the drizzle-orm that goes with each."""

PG = "8.23.1"

HAS_NODE = shutil.which("node") is not None and shutil.which("npm") is not None

PUSH = ["node", "node_modules/drizzle-kit/bin.cjs", "push"]

CONFIG = """\
module.exports = {
  dialect: 'postgresql',
  schema: './schema.js',
  dbCredentials: { url: process.env.DATABASE_URL },
};
"""


@dataclass(frozen=True)
class Kit:
    """An installed drizzle-kit."""

    node_modules: Path

    def lay(self, directory: Path, schema: Schema) -> None:
        """Make a folder one in which `PUSH` pushes this schema."""
        (directory / "schema.js").write_text(javascript(schema))
        (directory / "drizzle.config.js").write_text(CONFIG)
        if not (directory / "node_modules").exists():
            (directory / "node_modules").symlink_to(self.node_modules)


def install(version: str) -> Kit:
    """Install a version, once for all processes; it stays in the temp folder for later runs."""
    versions = {"drizzle-kit": version, "drizzle-orm": VERSIONS[version], "pg": PG}
    package = json.dumps({"private": True, "dependencies": versions})
    home = Path(tempfile.gettempdir()) / f"drizzle-kit-{os.geteuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    assert home.lstat().st_uid == os.geteuid(), f"{home} is not ours: remove it"
    folder = home / f"{version}-{hashlib.sha256(package.encode()).hexdigest()[:8]}"
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _install(package, Path(tempfile.mkdtemp(dir=home)), folder)
    return Kit(folder / "node_modules")


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
