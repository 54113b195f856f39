"""How far the tools are, by what they say: a table counts when it is done, not when it begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from entrypoint.transfer.dump import Dump

SIZES = {"rpg_a": 10, "rpg_b": 200}

# As pg_dump and pg_restore 18 say it, of two tables by two workers, and by one.
TWO = [
    'pg_dump: dumping contents of table "public.rpg_b"',
    'pg_dump: dumping contents of table "public.rpg_a"',
    "pg_dump: finished item 3440 TABLE DATA rpg_a",
    "pg_dump: finished item 3441 TABLE DATA rpg_b",
]
ONE = [
    'pg_restore: processing data for table "public.rpg_b"',
    'pg_restore: processing data for table "public.rpg_a"',
    "pg_restore: creating INDEX",
]


@pytest.mark.parametrize(
    ("jobs", "lines", "counted"),
    [(2, TWO, [0, 0, 10, 210]), (1, ONE, [0, 200, 200])],
    ids=["two workers", "one"],
)
def test_a_table_counts_when_it_is_done(jobs: int, lines: list[str], counted: list[int]) -> None:
    """After each line, the bytes so far."""
    sizes: list[int] = []
    dump: Any = Dump.__new__(Dump)
    relations = [SimpleNamespace(name=name, size_bytes=size) for name, size in SIZES.items()]
    dump.plan = SimpleNamespace(relations=relations)
    dump.progress = SimpleNamespace(advance=sizes.append)
    dump._begin_counting(jobs)  # noqa: SLF001  a tool's whole run is the other way in
    found = []
    for line in lines:
        dump._count(line)  # noqa: SLF001  the same
        found.append(sum(sizes))
    assert found == counted
