"""The folder of a dump: there are rows in it, so it outlives nobody for longer than necessary."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..postgres.session import Session, translated
from ..process import signals
from .plan import Plan
from .preflight import Problem

PREFIX: Final = "entrypoint-transfer-"

FACTOR: Final = 2
"""Bytes of a dump for each that its tables take at the most, as a rule: bytes are written as twice
as many digits, and long values are stored compressed."""


@contextmanager
def temporary() -> Iterator[Path]:
    """A new folder that only this user can read, locked as long as this process lives."""
    path: Path | None = None
    try:
        with signals.late():
            path = Path(tempfile.mkdtemp(prefix=PREFIX))
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield path
        finally:
            os.close(descriptor)
    finally:
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)


def remove_old() -> None:
    """Remove what transfers that were killed left behind; a lock says who is alive.

    A process's number would not: in containers they are all the same.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_uid == os.geteuid():
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def problems(session: Session, plan: Plan, *, blobs: bool) -> list[Problem]:
    """Whether the folder's disk may be too small for the dump, with ``blobs`` or without.

    What somebody has locked has no size. Raises `RefusedError`.
    """
    with translated("looking at sizes", remedy="Start again."):
        [(size,)] = session.rows("transfer/data_size", [list(plan.moving), blobs])
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free >= size * FACTOR:
        return []
    return [
        Problem(
            "space",
            f"the dump takes up to {_mb(size * FACTOR)}, and {folder!r} has {_mb(free)} free",
            "Name a folder with more by TMPDIR, or agree: should it get full, nothing is moved.",
        )
    ]


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
