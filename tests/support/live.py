"""A real service that is at work while another one starts."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from tests.support.program import TIMEOUT_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = Path(__file__).parent / "node" / "live.js"

TABLES = """
create schema live;
create table live.entries (id serial primary key);
create table live.cache (key text);
create table live.board as select 0 as n
"""


@contextmanager
def live(url: str, directory: Path) -> Iterator[Callable[[], None]]:
    """Let it work on tables of its own, in a folder that has node-postgres.

    What is yielded blocks until it has had 20 rounds more. After it every row that it wrote is
    there, and it met no error.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES)
    (directory / PROGRAM.name).write_text(PROGRAM.read_text())
    service = subprocess.Popen(
        ["node", PROGRAM.name],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def goes_on() -> None:
        goal = _entries(url) + 20
        until(lambda: service.poll() is not None or _entries(url) >= goal, "it goes on")

    try:
        goes_on()
        before = _entries(url)
        yield goes_on
    finally:
        service.terminate()
        output, error = service.communicate(timeout=TIMEOUT_S)
    assert (service.returncode, error) == (0, "")
    assert before < _entries(url) == int(output)


def _entries(url: str) -> int:
    with psycopg.connect(url) as connection:
        return connection.execute("select from live.entries").rowcount
