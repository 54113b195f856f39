"""Whether a file is what its platform accepts, by the schema that the platform publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_jsonschema import main  # type: ignore[import-untyped]  # it has no types
from click.testing import CliRunner

if TYPE_CHECKING:
    from pathlib import Path


def complaints(schema: str, *files: Path) -> str:
    """What `check-jsonschema --builtin-schema` says of files; nothing where they fit."""
    words = ["--builtin-schema", schema, *map(str, files)]
    done = CliRunner().invoke(main, words)
    return done.output if done.exit_code else ""
