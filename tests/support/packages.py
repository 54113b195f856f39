"""Folders of packages for tests, filled once for all processes and runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def kept(kind: str, name: str, wanted: str, fill: Callable[[Path], None]) -> Path:
    """The folder for what is `wanted`, in the temp folder, where it stays for later runs.

    The first to ask has an empty folder filled; the others block meanwhile. What `fill` raises is
    raised, and nothing is left behind then.
    """
    home = Path(tempfile.gettempdir()) / f"entrypoint-{kind}-{os.geteuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    assert home.lstat().st_uid == os.geteuid(), f"{home} is not ours: remove it"
    folder = home / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(dir=home))
            try:
                fill(unfinished)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder
