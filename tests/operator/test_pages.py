"""The commands that the pages for operators show, run as they stand there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.docs import block

if TYPE_CHECKING:
    from tests.operator.conftest import Operator

MISPLACED = 9


@pytest.mark.parametrize(
    ("page", "heading", "codes"),
    [
        ("verify-and-status", "Find misplaced objects", [MISPLACED, MISPLACED]),
        ("verify-and-status", "Watch the services", [0, 0, 0]),
        ("pgadmin", "Use nothing but pgAdmin", [0, 0]),
        ("move-a-service", "Move a service out of `postgres`", [0, 0]),
    ],
)
def test_the_commands_of_the_pages(
    operator: Operator, page: str, heading: str, codes: list[int]
) -> None:
    """Each line ends with its exit code, on a server with a table that is not where it belongs."""
    operator.execute("create table rpg_lost (id int primary key)")
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ENTRYPOINT_ADMIN_URL": operator.url,
        "PG_BINDIR": str(operator.server.pg_bin),
    }
    lines = block(f"docs/how-to/{page}", heading, "sh").splitlines()
    done = [
        subprocess.run(
            ["sh", "-c", line],
            cwd=operator.directory,
            env=environ,
            check=False,
            capture_output=True,
        )
        for line in lines
    ]

    assert [each.returncode for each in done] == codes, done
