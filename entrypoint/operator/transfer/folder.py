"""The folder of a dump: there are rows in it, so it outlives nobody for longer than necessary."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "entrypoint-transfer-"


@contextmanager
def temporary() -> Iterator[Path]:
    """A new folder that only this user can read, locked as long as this process lives."""
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield path
        finally:
            os.close(descriptor)
    finally:
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
