"""The stage on which whole starts run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import RoleFactory
    from tests.support.server import Endpoint


@pytest.fixture
def stage(tmp_path: Path, server: Endpoint, database: str, role: RoleFactory) -> Iterator[Stage]:
    """A service whose database does not exist yet and whose role may create it."""
    owner = role("createdb")
    made = Stage(tmp_path, server, database, owner.name, owner.password)
    yield made
    made.close()
