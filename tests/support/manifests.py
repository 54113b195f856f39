"""What a platform's file gives a container, read as the start itself would read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from entrypoint.config import load as config
from entrypoint.config.environment import Environment
from tests.support.stage import TENANT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from entrypoint.config.settings import Settings

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/node-service"
"""The service that all files of deploy/ deploy."""


def loaded(variables: Mapping[str, str]) -> Settings:
    """Its settings in a container with these variables, its secrets and its image's own."""
    plain = {
        name: value.replace("${RELEASE}", "v1")
        for name, value in variables.items()
        if name != "DATABASE_URL_FILE"
    }
    secret = {"DATABASE_URL": "postgresql://u:p@db/gaqno_rpg_db", "SEED_TENANT_ID": TENANT}
    environ = {**plain, **secret, "PORT": "4003"}
    block = {name.encode(): value.encode() for name, value in environ.items()}
    return config.load(Environment(block), EXAMPLE)
