"""Writes a file completely or not at all."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from ..errors import SettingsError
from ..process import signals


def check(option: str, name: str) -> None:
    """Raise `SettingsError` if `write` would, before the command does any slow work."""
    try:
        path = Path(name).resolve()
        if path.is_dir():
            raise _error(option, name, "it is a folder")
        if path.exists() and not path.is_file():
            raise _error(option, name, "it is a FIFO, a device or a socket")
        if stream := _stream(Path(name)):
            raise _error(option, name, f"it is the command's own {stream}")
        if not path.parent.is_dir():
            raise _error(option, name, f"there is no folder {str(path.parent)!r}")
        for each in (path, path.parent):
            if each.exists() and not os.access(each, os.W_OK):
                raise _error(option, name, f"there is no permission to write to {str(each)!r}")
    except (OSError, RuntimeError) as error:  # a name is too long, or links form a ring
        raise _error(option, name, getattr(error, "strerror", None) or str(error)) from None


def _stream(path: Path) -> str | None:
    """The stream of ours that is open there, if any; a pipe has a name, too: `/dev/stdout`."""
    for descriptor, stream in ((1, "stdout"), (2, "stderr")):
        with suppress(OSError):  # the file does not exist, or the stream is closed
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return stream
    return None


def write(option: str, name: str, text: str) -> None:
    """Write a new file beside the old one and rename it, so that a reader sees one of the two.

    Follows a link and replaces its target; keeps the old file's permissions, and its owner if we
    may. Blocks until the file is written. Raises `SettingsError`; the old file is then as it was,
    and the new one is gone.
    """
    path = Path(name).resolve()
    new = path.with_name(f".entrypoint-{secrets.token_hex(8)}")
    with signals.late():
        try:
            with new.open("x", encoding="utf-8") as out:
                if path.exists():
                    old = path.stat()
                    for owner in ((-1, old.st_gid), (old.st_uid, -1)):
                        with suppress(PermissionError):
                            os.fchown(out.fileno(), *owner)
                    os.fchmod(out.fileno(), old.st_mode & 0o777)
                out.write(text)
            new.replace(path)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise _error(option, name, error.strerror or str(error)) from None


def _error(option: str, name: str, reason: str) -> SettingsError:
    return SettingsError(
        [f"{name!r} cannot be written: {reason}"],
        remedy=f"Pass {option} a file in a writable folder.",
    )
