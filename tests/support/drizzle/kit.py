"""Installs drizzle-kit, and puts it and a schema into a service's folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.drizzle.world import javascript
from tests.support.npm import PG, installed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.drizzle.world import Schema

VERSIONS = {
    "0.21.4": "0.30.10",
    "0.31.8": "0.45.2",
    "0.31.11": "0.45.2",
    "1.0.0-rc.5": "1.0.0-rc.5",
}
"""Versions of drizzle-kit, and of the drizzle-orm that goes with each."""

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
    return Kit(installed(f"drizzle-kit-{version}", versions))
